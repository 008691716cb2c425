"""Environments beside our own: the predecessor's, the peers', the profiler's, a bare install of ours."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from .machine import ROOT, WORK

# What the predecessor ran with; its own list of requirements has no upper bounds and resolves no more.
PREDECESSOR = (
    "Flask==1.1.4",
    "connexion==2.14.2",
    "SQLAlchemy==1.3.24",
    "Werkzeug==1.0.1",
    "Jinja2==2.11.3",
    "MarkupSafe==1.1.1",
    "itsdangerous==1.1.0",
    "click==7.1.2",
    "gunicorn==20.1.0",
    "pendulum==2.1.2",
    "elasticsearch==8.15.1",
    "openapi-spec-validator==0.5.7",
    "PyYAML==6.0.3",
    "psycopg2-binary",
    "python-dateutil",
    "urllib3<3",
    "setuptools<70",
    "pbr",
)


def predecessor() -> Path:
    """Returns the Python of an environment with the predecessor and its server."""
    # Its setup.py uses pbr without declaring it, so it is built with what the environment has.
    itself = ["--no-build-isolation", "--no-deps", "observatory-api==0.5.0"]
    return _made("predecessor", [[*PREDECESSOR], itself])


def bare() -> Path:
    """Returns the Python of a new environment with nothing but our bare install."""
    shutil.rmtree(WORK / "bare", ignore_errors=True)
    return _made("bare", [[str(ROOT)]])


def sqlmesh() -> Path:
    """Returns the Python of an environment with SQLMesh."""
    return _made("sqlmesh", [["sqlmesh==0.236.4"]])


def dagster() -> Path:
    """Returns the Python of an environment with Dagster."""
    return _made("dagster", [["dagster==1.13.29"]])


def profiler() -> Path:
    """Returns the profiler's program."""
    return _made("profiler", [["py-spy==0.4.3"]]).parent / "py-spy"


def packages(python: Path) -> list[str]:
    """Returns the names of what is installed in an environment, without pip and its like."""
    code = "from importlib.metadata import distributions as d; print(*{i.metadata['Name'] for i in d()})"
    output = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    return sorted(name for name in output.split() if name.lower() not in ("pip", "setuptools", "wheel"))


def _made(name: str, installs: list[list[str]]) -> Path:
    """Makes an environment unless an earlier run has made it of the same, and returns its Python."""
    folder = WORK / name
    python = folder / "bin" / "python"
    made_of = folder / "made-of"
    fingerprint = hashlib.sha256(repr(installs).encode()).hexdigest()
    if made_of.exists() and made_of.read_text() == fingerprint:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv, install = _tools(python)
    _run([*venv, str(folder)])
    for arguments in installs:
        _run([*install, *arguments])
    made_of.write_text(fingerprint)
    return python


def _tools(python: Path) -> tuple[list[str], list[str]]:
    """Returns the commands that make an environment and install into it: uv's, or Python's own."""
    if uv := shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv"):
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
        return [uv, "venv", "--quiet", "--python", sys.executable], install
    return [sys.executable, "-m", "venv"], [str(python), "-m", "pip", "install", "--quiet"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
