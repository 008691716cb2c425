"""The documentation is true: its code runs, its links lead somewhere, its tables are those of the code.

The blocks of a page run in order, in one folder, against one new book. What is in Python or bash runs; a
first line such as `# catalogue.yaml` makes a block a file instead. An `output` block is what the block before
it writes, where … stands for anything: alone for any lines, else within its line. What is in any other
language is only shown. A bash block that does not end with 0 says `exits=` and the code behind its language.
"""

import contextlib
import io
import os
import pty
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from shutil import copy2
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec
import pytest

from observatory import ObservatoryApi
from observatory.ledger import upgrade
from observatory.server.app import create_app
from observatory.settings import Settings

from .conftest import CREDENTIALS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

RUN = ("python", "bash")
SHOWN = ("", "text", "json", "yaml", "mermaid", "output")
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w/-]+\.(?:py|yaml|csv))\n")
SERVED_AT = "http://127.0.0.1:5002"  # as the pages say; here it is another port


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


class Block(NamedTuple):
    """Code of a page: what it is in, what else stands behind that, and the line on which it begins."""

    language: str
    said: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for fence in FENCE.finditer(text):
        language, _, said = fence[1].partition(" ")
        found.append(Block(language, said, fence[2], text.count("\n", 0, fence.start()) + 2))
    return found


RUNNING = [page for page in PAGES if any(block.language in RUN for block in blocks(page))]


class Reader:
    """Somebody who does what a page says, at a terminal, in a folder that is empty at first."""

    def __init__(self, page: Path, folder: Path, url: str) -> None:
        self.page = page
        self.folder = folder / "reader"
        self.folder.mkdir()
        self.url = url
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.written = ""
        # Each block is a shell of its own; what is exported is kept, as it would be at one terminal.
        self._exports = folder / "exports"
        self._exports.touch()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OBSERVATORY_URL": url,
            "AIRFLOW_HOME": str(folder / "airflow"),  # else it makes itself at home in the user's folder
            "COLUMNS": "110",
            "NO_COLOR": "1",
            "TERM": "xterm",
        }

    def follow(self, block: Block) -> None:
        """Does what a block says."""
        code = block.code.replace(SERVED_AT, self.url).replace(
            SERVED_AT.removeprefix("http://"), self.url.removeprefix("http://")
        )
        if file := FILE.match(code):
            path = self.folder / file[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
        elif block.language == "python":
            self._run(code, block.line)
        elif block.language == "bash":
            self._type(code, block)
        elif block.language == "output":
            self._compare(block)

    def close(self) -> None:
        """Closes the books that were opened."""
        for value in self.names.values():
            if isinstance(value, ObservatoryApi):
                value.close()

    def _run(self, code: str, line: int) -> None:
        # Moved down, so that a traceback names the line of the page.
        compiled = compile("\n" * (line - 1) + code, str(self.page), "exec")
        written = io.StringIO()
        with contextlib.redirect_stdout(written):
            exec(compiled, self.names)
        self.written = written.getvalue()

    def _type(self, code: str, block: Block) -> None:
        script = f"source {self._exports}\ntrap 'export -p > {self._exports}' EXIT\n{code}"
        terminal, end = pty.openpty()
        written = b""
        with subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=end,
            stderr=end,
        ) as process:
            os.close(end)
            # Linux says that the other end is closed by an error.
            with contextlib.suppress(OSError):
                while more := os.read(terminal, 10_000):
                    written += more
            os.close(terminal)
        self.written = written.decode().replace("\r\n", "\n")
        expected = int(block.said.removeprefix("exits=") or 0)
        assert process.returncode == expected, f"{self.page}:{block.line}\n{self.written}"

    def _compare(self, block: Block) -> None:
        written = [line.rstrip() for line in self.written.replace(self.url, SERVED_AT).rstrip().splitlines()]
        expected = block.code.rstrip().splitlines()
        parts = [re.escape(line).replace("…", ".*") + "\n" for line in expected]
        pattern = "".join(r"(.*\n)*?" if part == ".*\n" else part for part in parts)
        text = "".join(f"{line}\n" for line in written)
        assert re.fullmatch(pattern, text), f"{self.page}:{block.line} says\n{block.code}\nbut it is\n{text}"


@pytest.fixture
def reader(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    serve: Callable[[Settings], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Reader]:
    database_url = f"sqlite:///{tmp_path}/book.db"
    upgrade(database_url)
    url = serve(Settings(database_url=database_url))
    monkeypatch.setenv("OBSERVATORY_URL", url)
    monkeypatch.delenv("OBSERVATORY_API_KEY", raising=False)
    # A file of the reader's own, since a page may say to log in.
    monkeypatch.setenv("OBSERVATORY_CREDENTIALS", str(copy2(CREDENTIALS, tmp_path)))
    reader = Reader(request.param, tmp_path, url)
    monkeypatch.chdir(reader.folder)
    yield reader
    reader.close()


@pytest.mark.parametrize("reader", RUNNING, ids=name_of, indirect=True)
def test_what_a_page_says_can_be_done(reader: Reader) -> None:
    for block in blocks(reader.page):
        reader.follow(block)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_code_is_passed_over(page: Path) -> None:
    indented = re.findall(r"^ +```(\w+)", page.read_text(), re.MULTILINE)

    assert {block.language for block in blocks(page)} <= {*RUN, *SHOWN}
    assert set(indented) <= set(SHOWN)


def test_the_first_dag_of_the_readme_is_the_one_that_the_tutorial_runs() -> None:
    def dag_and_catalogue(page: Path) -> dict[str, str]:
        return {file[1]: block.code for block in blocks(page) if (file := FILE.match(block.code))}

    shown = dag_and_catalogue(ROOT / "README.md")
    run = dag_and_catalogue(ROOT / "docs" / "tutorial.md")

    assert shown
    assert shown.items() <= run.items()


# Links and names.


def anchors(page: Path) -> set[str]:
    """Returns the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named_exist(page: Path) -> None:
    places = (ROOT, ROOT / "src" / "observatory", page.parent)
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*\.(?:py|md|toml|lock))`", FENCE.sub("", page.read_text()))
    made = {file[1] for block in blocks(page) if (file := FILE.match(block.code))}

    assert [f for f in named if f not in made and not any((place / f).exists() for place in places)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_targets_of_make_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"(?:^make |`make )([a-z-]+)(?:`|$)", page.read_text(), re.MULTILINE)) <= targets


def test_every_page_is_found_from_the_index() -> None:
    folder = ROOT / "docs"
    index = (folder / "README.md").read_text()
    listed = {(folder / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", index)}

    assert {page for page in PAGES if page.is_relative_to(folder)} - listed == {folder / "README.md"}


def test_decisions_are_numbered_and_have_their_parts() -> None:
    assert [page.name[:4] for page in DECISIONS] == [f"{n:04}" for n in range(1, len(DECISIONS) + 1)]
    for page in DECISIONS:
        text = page.read_text()
        assert re.match(rf"# {int(page.name[:4])}\. ", text), page.name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], page


def test_pictures_are_as_they_are_drawn_and_are_told_in_words_too() -> None:
    folder = ROOT / "docs" / "explanation"
    drawn = runpy.run_path(str(folder / "pictures.py"))
    shown = re.findall(r"!\[([^\]]*)\]\((\w+)\.svg\)", (folder / "missing.md").read_text())

    assert {path.stem: path.read_text() for path in folder.glob("*.svg")} == {
        name: drawn["svg"](picture) for name, picture in drawn["PICTURES"].items()
    }
    assert {name for _, name in shown} == {*drawn["PICTURES"]}
    assert all(len(told) > 100 for told, _ in shown)


# What the code says too.


def table_of(page: str, first: str) -> list[list[str]]:
    """Returns the rows of the table whose first heading is this, without the marks of code."""
    rows = []
    lines = iter((ROOT / page).read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first} "):
            next(lines)
            break
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return rows


def test_the_settings_are_those_of_the_code() -> None:
    def kind(type_: Any) -> str:
        inner = [one for one in get_args(type_) if one is not type(None)]
        if get_origin(type_) is Literal:
            return " or ".join(inner)
        names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
        return names[inner[0] if inner else type_]

    in_code = [
        [f"OBSERVATORY_{f.name.upper()}", kind(f.type), "–" if f.default is None else str(f.default)]
        for f in msgspec.structs.fields(Settings)
    ]

    assert [row[:3] for row in table_of("docs/reference/settings.md", "Variable")] == in_code


def test_the_routes_are_those_of_the_server() -> None:
    app = create_app(Settings())
    known = {
        (method, re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path))
        for route in app.routes
        for method in getattr(route, "methods", ())
        if method not in ("OPTIONS", "HEAD")
    }
    plain = ("organisations", "workflow-types", "workflows", "table-types", "dataset-types", "datasets")
    said = set()
    for method, path, *_ in table_of("docs/reference/http-api.md", "Method"):
        for kind in plain if "{records}" in path else ("",):
            said.add((method, path.replace("{records}", kind)))

    assert said == known


def test_the_extras_are_those_of_the_project() -> None:
    listed = [row[0] for row in table_of("README.md", "Install")]

    assert listed[1:] == [f"observatory-ledger[{extra}]" for extra in PROJECT["optional-dependencies"]]


def test_the_changelog_has_the_version_of_the_project() -> None:
    headings = re.findall(r"^## \[?([\w.]+)\]?", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert PROJECT["version"] in headings
    assert version("observatory-ledger") == PROJECT["version"]
