"""What the examples read from their sources, as they really are; wheels are kept, as for the examples."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".work" / "tests" / "wheels"

sys.path.insert(0, str(ROOT / "examples"))

import iers  # noqa: E402 # the examples are a folder of files, not a package
import prefixes  # noqa: E402
import pypi_source  # noqa: E402

# A day that is observed, one that is predicted, and one with nothing but its date.
LINES = """\
73 1 2 41684.00 I  0.120733 0.009786  0.136966 0.015902  I 0.8084178 0.0002710  0.0000 0.1916  P    -0.766    0.199    -0.720    0.300   .143000   .137000   .8075000   -18.637    -3.667
27 221 61457.00 P  0.076027 0.009278  0.424320 0.012719  P-0.1654695 0.0108216
271218 61757.00
"""  # noqa: E501


def table(version: str) -> str:
    wheel = pypi_source.download_wheel(iers.PACKAGE, version, KEPT)
    return pypi_source.read_member(wheel, iers.TABLE).decode("ascii")


def test_a_version_of_the_iers_data_tells_when_it_was_collected() -> None:
    assert iers.collected_at("0.2026.11.2.0.34.55") == datetime(2026, 11, 2, 0, 34, 55, tzinfo=UTC)
    for version in ("1.0", "0.2026.11.2", "0.2026.13.2.0.0.0", "0.2026.11.2.0.34.55rc1"):
        assert iers.collected_at(version) is None


def test_days_are_read_with_what_is_known_of_them() -> None:
    first, predicted, empty = iers.read_days(LINES)
    assert (first["mjd"], first["day"], first["polar_motion_flag"]) == (41684, date(1973, 1, 2), "I")
    assert (first["x_arcsec"], first["lod_ms"], first["bulletin_b_dy_mas"]) == (0.120733, 0.0, -3.667)
    assert (predicted["day"], predicted["ut1_utc_s"]) == (date(2027, 2, 21), -0.1654695)
    assert predicted["lod_ms"] is predicted["nutation_flag"] is None
    assert {name for name, value in empty.items() if value is not None} == {"mjd", "day"}
    assert list(iers.read_days(LINES, since=date(2027, 2, 21))) == [predicted, empty]


@pytest.mark.parametrize("line", ["73 1 3 41684.00", "73 1 2 41684.50", "1973-01-02,I,0.120733"])
def test_a_table_in_another_format_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"is not that of|could not convert"):
        list(iers.read_days(line))


def test_a_release_of_the_iers_revises_a_year_and_predicts_another() -> None:
    old, new = (
        {row["mjd"]: row for row in iers.read_days(table(version))}
        for version in ("0.2026.10.12.1.3.27", "0.2026.10.19.0.52.1")
    )
    assert len(old) == len(new) == 20_049
    changed = [new[mjd]["day"] for mjd in new if new[mjd] != old[mjd]]
    assert (len(changed), min(changed), max(changed)) == (738, date(2025, 9, 19), date(2027, 10, 4))


def test_prefixes_are_described_by_the_bioregistry_or_by_another() -> None:
    wheel = pypi_source.download_wheel(prefixes.PACKAGE, "0.15.6", KEPT)
    rows = {
        row["prefix"]: row
        for row in prefixes.read_prefixes(pypi_source.read_member(wheel, prefixes.REGISTRY))
    }
    assert len(rows) == 2_937
    assert rows["chebi"]["license"] == "CC-BY-4.0"
    assert "obofoundry" in rows["chebi"]["registries"].split()
    assert all(row["name"] for row in rows.values())
    assert sum(row["deprecated"] for row in rows.values()) == 105


def test_the_index_tells_which_versions_were_there_before_a_time() -> None:
    october, november = (
        pypi_source.list_versions(prefixes.PACKAGE, datetime(2026, month, 1, tzinfo=UTC))
        for month in (10, 11)
    )
    assert (october[-1], november[-1]) == ("0.14.8", "0.15.6")
    assert november[: len(october)] == october
