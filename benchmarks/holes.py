"""Datasets with many holes: what is missing, beside the peers; recording, withdrawing, claims, overview."""

import random
import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple
from urllib.parse import urljoin

import msgspec
import psycopg

from . import environments, expected, ours
from .calls import Bench
from .peers import asking
from .peers.turns import CAP, Case, hour
from .report import Claim, Report, table
from .rounds import Sample, Samples, Side, alternate, middle, ratio, timed
from .server import answer, asked, json_request

HOURS = 100_000  # of which half are missing: what is claimed is claimed of these
SIZES = (1000, 10_000, HOURS, 1_000_000)
RUN = 1_000_000
DATASETS, RELEASES = 10_000, 1000  # the overview, and the releases of each of its datasets
CLAIMANTS, GRANTED = 16, 100
PEERS = {"SQLMesh": ("sqlmesh", environments.sqlmesh), "Dagster": ("dagster", environments.dagster)}
WAYS = ("runs", "periods")

# How many requests make a turn.
ASKED, RECORDED, WITHDRAWN, CLAIMS = 20, 200, 10, 320

# What we claim, as the most seconds, or as the most or the least that a ratio may be.
PAGE = {"runs": 0.02, "periods": 0.1}
TIMES_PEERS, RECORDING, WITHDRAWING, OVERVIEW, CLAIMING = 20, 1.3, 0.02, 0.3, 0.05

MIDDLE = """
    SELECT id FROM dataset_releases WHERE dataset_id = %s AND start_date >= %s ORDER BY start_date LIMIT %s
"""


class Holes(NamedTuple):
    """All that is measured: what is missing in each case, the same of both kinds, and the others."""

    missing: dict[Case, Samples]
    recording: Samples
    others: Samples


def measure(bench: Bench, quick: bool) -> Holes:
    """Measures all of it; raises RuntimeError where a peer does not find exactly the holes."""
    sizes = SIZES[:-1] if quick else SIZES
    return Holes(
        _missing(bench, [Case(hours, block) for hours in sizes for block in (False, True)]),
        _recording(bench),
        _withdrawing(bench, HOURS if quick else RUN)
        | _claiming(bench)
        | _overview(bench, RELEASES // 50 if quick else RELEASES),
    )


def _missing(bench: Bench, cases: list[Case]) -> dict[Case, Samples]:
    with ExitStack() as stack:
        peers = {
            name: stack.enter_context(asking.running(module, python()))
            for name, (module, python) in PEERS.items()
        }
        measured = {}
        for case in cases:
            sides = _of_ours(bench, case)
            sides |= {
                f"{name} {way}": _of_peer(ask, case, way) for name, ask in peers.items() for way in WAYS
            }
            # The greatest take a peer so long that once must do.
            measured[case] = alternate(sides, 1 if case.hours > HOURS else bench.rounds)
        return measured


def _of_ours(bench: Bench, case: Case) -> dict[str, Side]:
    """Returns how our server is asked: for the first thousand, and for all, page by page."""
    dataset = expected.case(bench.mine, case)
    sides: dict[str, Side] = {}
    for way in WAYS:
        path = f"/v1/missing?dataset_id={dataset}&runs={str(way == 'runs').lower()}&counts=false&limit=1000"
        number = case.runs if way == "runs" else case.hours // 2
        sides[f"page of {way}"] = _page(bench, path)
        sides[f"all {way}"] = _whole(bench, path, number)
    return sides | {"counts": _page(bench, f"/v1/missing?dataset_id={dataset}&limit=1")}


def _page(bench: Bench, path: str) -> Side:
    request = json_request("GET", path)
    return lambda _: asked(bench.mine, bench.postgres, [[request]], ASKED)


def _whole(bench: Bench, path: str, number: int) -> Side:
    def turn(_: int) -> Sample:
        found: list[int] = []
        sample = timed(1, lambda: found.append(pages(bench, path)))
        if found != [number]:
            raise RuntimeError(f"{path} finds {found[0]} of {number}")
        return sample

    return turn


def pages(bench: Bench, path: str) -> int:
    """Returns how many a list has, read page by page."""
    number, on = 0, path
    while on:
        told = answer(bench.mine, json_request("GET", on))
        if told.status != 200:
            raise RuntimeError(f"{on} is answered {told.status}: {told.body[:500]!r}")
        listed = msgspec.json.decode(told.body)
        # What is missing comes with counts, and without what was not asked for.
        number += len(listed) if isinstance(listed, list) else len(listed.get("runs") or listed["periods"])
        link = re.match(r"<(.*?)>", told.link)
        on = urljoin(on, link[1]) if link else ""
    return number


def _of_peer(ask: asking.Ask, case: Case, way: str) -> Side:
    return lambda _: Sample(1, ask(case, way))


def _recording(bench: Bench) -> Samples:
    """Measures recording hour after hour behind what is there, and into holes, by one connection."""
    behind = RECORDED * bench.rounds
    settled = expected.hours(bench.mine, HOURS, expected.ALL, behind)
    holes = expected.hours(bench.mine, HOURS, expected.SECOND, behind)
    inside = expected.hours(bench.mine, HOURS, expected.SECOND)
    free = random.Random(7).sample(range(0, HOURS, 2), behind)

    def into(dataset: int, hours: list[int]) -> Side:
        def turn(number: int) -> Sample:
            told = hours[number * RECORDED : (number + 1) * RECORDED]
            posts = [_post(dataset, each) for each in told]
            return asked(bench.mine, bench.postgres, [posts], RECORDED, (201,))

        return turn

    last = [*range(HOURS, HOURS + behind)]
    sides = {"without": into(settled, last), "with": into(holes, last), "inside": into(inside, free)}
    # Where nothing is expected at all, a release is recorded in one statement.
    return alternate({**sides, "plain": into(expected.plain(bench.mine, HOURS), last)}, bench.rounds)


def _post(dataset: int, number: int) -> bytes:
    return ours.post_release(dataset, hour(number).isoformat(), hour(number + 1).isoformat())


def _withdrawing(bench: Bench, hours: int) -> Samples:
    """Measures withdrawing hours one by one, each in the middle of a run."""
    dataset = expected.hours(bench.mine, hours, expected.ALL)
    number = 2 * WITHDRAWN * bench.rounds
    with psycopg.connect(bench.mine.database_url, autocommit=True) as connection:
        rows = connection.execute(MIDDLE, [dataset, hour(hours // 2), number])
        # Every second one, so that none is at the end of a run.
        ids = [id for [id] in rows.fetchall()][::2]

    def turn(number: int) -> Sample:
        told = ids[number * WITHDRAWN : (number + 1) * WITHDRAWN]
        body = {"state": "withdrawn", "reason": "bad file"}
        patches = [json_request("PATCH", f"/v1/dataset-releases/{id}", body) for id in told]
        return asked(bench.mine, bench.postgres, [patches], WITHDRAWN)

    return alternate({"withdrawing": turn}, bench.rounds)


def _claiming(bench: Bench) -> Samples:
    """Measures claims of a hundred by racing claimants; in each turn of a new dataset of missing hours."""

    def turn(_: int) -> Sample:
        # One hour is settled, and all behind it are missing.
        dataset = expected.hours(bench.mine, 2, expected.ALL, HOURS)
        claim = {"dataset": {"id": dataset}, "limit": GRANTED, "seconds": 600}
        told = [{**claim, "holder": f"claimant {i}"} for i in range(CLAIMANTS)]
        posts = [[json_request("POST", "/v1/claims", each)] for each in told]
        return asked(bench.mine, bench.postgres, posts, CLAIMS, (200, 201))

    return alternate({"claiming": turn}, bench.rounds)


def _overview(bench: Bench, releases: int) -> Samples:
    """Measures the status of ten thousand datasets, page by page, and the first page of it."""
    expected.many(bench, DATASETS, releases)
    path = "/v1/statuses?limit=1000"

    def whole(_: int) -> Sample:
        return timed(1, lambda: pages(bench, path))

    return alternate({"overview": whole, "page of it": _page(bench, path)}, bench.rounds)


def tell(report: Report, found: Holes) -> None:
    """Tells of datasets with many holes."""
    _tell_missing(report, found.missing)
    _tell_recording(report, found.recording)
    _tell_others(report, found.others)


def _tell_missing(report: Report, measured: dict[Case, Samples]) -> None:
    rows = []
    for case, samples in measured.items():
        rows.append([f"{case.hours:,}, {_pattern(case)}", *map(_milliseconds, samples.values())])
        if case.hours == HOURS:
            report.claims += _of_missing(case, samples)
    heads = "|".join(["expected hours, missing", *next(iter(measured.values()))])
    report.tables.append(
        "### What is missing, half of the expected hours\n\nMilliseconds. Ours by the HTTP API, in pages of "
        "1,000; the peers in their own process, of what they have in memory:\n\n" + table(heads, rows)
    )


def _of_missing(case: Case, samples: Samples) -> list[Claim]:
    claims = []
    for way in WAYS:
        page = samples[f"page of {way}"]
        what, took = f"{way} missing of {HOURS:,}, {_pattern(case)}", middle(page, _each)
        claim = f"under {1000 * PAGE[way]:.0f} ms"
        claims.append(Claim(f"{what}: a page", f"{1000 * took:.1f} ms", claim, took < PAGE[way]))
        # One block is one run, which Dagster finds in less time than a request takes: the table shows it.
        for name in [] if case.block else PEERS:
            theirs = samples[f"{name} {way}"]
            over = "over " if _is_over(theirs) else ""
            first, whole = (ratio(theirs, side, _each) for side in (page, samples[f"all {way}"]))
            said = f"{over}{first:,.0f} times as fast, all pages {whole:,.1f} times"
            claims.append(Claim(f"{what}: by {name}", said, f"a page {TIMES_PEERS}", first >= TIMES_PEERS))
    return claims


def _tell_recording(report: Report, samples: Samples) -> None:
    said = {
        "without": "behind expected hours without holes",
        "with": f"behind expected hours with {HOURS // 2:,} holes",
        "inside": f"into {HOURS // 2:,} holes, each of which joins two runs",
        "plain": "where nothing is expected",
    }
    rows = [
        [said[name], f"{1000 * middle(side, _each):.2f}", f"{1000 * middle(side, _cpu):.2f}"]
        + [f"{ratio(side, samples['without'], of):.2f}" for of in (_each, _cpu)]
        for name, side in samples.items()
    ]
    heads = "recording, one connection|ms|ms of CPU|by without holes|of CPU"
    report.tables.append("### Recording into holes\n\n" + table(heads, rows))
    cost, cpu = (ratio(samples["with"], samples["without"], of) for of in (_each, _cpu))
    holds = min(cost, cpu) <= RECORDING
    told = f"{cost:.2f} of that without (by CPU {cpu:.2f})"
    what = f"recording into a dataset with {HOURS // 2:,} holes"
    report.claims.append(Claim(what, told, f"at most {RECORDING}", holds, holds and cost > RECORDING))


def _tell_others(report: Report, samples: Samples) -> None:
    told: dict[str, tuple[str, Callable[[Sample], float], float]] = {
        "withdrawing": ("withdraw the middle of a run", _each, WITHDRAWING),
        "claiming": (f"claim {GRANTED}, {CLAIMANTS} racing, 99 % within", _slowest, CLAIMING),
        "overview": (f"the status of {DATASETS:,} datasets, in pages", _each, OVERVIEW),
        "page of it": ("the status of the first 1,000", _each, OVERVIEW),
    }
    rows = []
    for name, (what, of, most) in told.items():
        took = middle(samples[name], of)
        rows.append([what, f"{1000 * took:.1f}"])
        report.claims.append(Claim(what, f"{1000 * took:.1f} ms", f"under {1000 * most:.0f} ms", took < most))
    report.tables.append("### Withdrawing, claiming, overview\n\n" + table("what|ms", rows))


def _pattern(case: Case) -> str:
    return "one block" if case.block else "every second"


def _milliseconds(side: list[Sample]) -> str:
    return f"> {CAP * 1000:,}" if _is_over(side) else f"{1000 * middle(side, _each):,.1f}"


def _is_over(side: list[Sample]) -> bool:
    return middle(side, _each) >= CAP


def _each(sample: Sample) -> float:
    return sample.seconds / sample.number


def _cpu(sample: Sample) -> float:
    return sample.cpu


def _slowest(sample: Sample) -> float:
    return sample.slowest
