"""The figures as tables of Markdown, each beside what we claim."""

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from . import machine, postgresql
from .rounds import Sample, Samples, middle, ratio

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
README = machine.ROOT / "benchmarks" / "README.md"

# What we claim, as the least or the most that a ratio may be.
CALLS = {
    "get one dataset, nested": 7,
    "record one release, each connection its own dataset": 5,
    "record one release, all the same dataset": 5,
    "list 1,000 releases": 100,
}
OF_BEFORE = {
    "get one dataset, nested": 0.7,
    "record one release, each connection its own dataset": 0.7,
}
NOT_MODIFIED = {"get one dataset, nested": 1.3, "list 1,000 releases": 8}
MISSING_OF_ALL, MISSING_OF_BARE = 1 / 3, 1.5
BATCH_RATE, BATCH_OF_COPY = 15_000, 0.3
DEEP_OF_FIRST = 1.5
STARTUP_OF_THEIRS, PACKAGES = 1.0, 12


class Claim(NamedTuple):
    """One claim, and what was measured of it."""

    what: str
    measured: str
    claimed: str
    holds: bool
    only_cpu: bool = False  # it holds by the CPU time, and not by the rate


@dataclass
class Report:
    """All that is told of a run."""

    tables: list[str]
    claims: list[Claim]


def calls(report: Report, measured: dict[str, Samples]) -> None:
    """Tells of single calls."""
    rows, costs = [], []
    for name, samples in measured.items():
        mine, theirs, limit = samples["ours"], samples["theirs"], samples.get("pgbench")
        times, cpu = ratio(mine, theirs, _rate), ratio(theirs, mine, _cpu)
        rates = [f"{middle(side, _rate):,.0f}" if side else "–" for side in (mine, theirs, limit)]
        shares = ["–", "–"]
        if limit:
            shares = [f"{ratio(mine, limit, _rate):.2f}", f"{ratio(limit, mine, _cpu):.2f}"]
        rows.append([name, *rates, f"{times:.1f}", f"{cpu:.1f}", *shares])
        parts = [_costs(side) if side else "–" for side in (mine, theirs, limit)]
        costs.append([name, *parts, *(f"{1000 * middle(side, _slowest):.1f}" for side in (mine, theirs))])
        said = f"{times:.1f} times the predecessor (by CPU {cpu:.1f})"
        report.claims.append(at_least(name, said, CALLS[name], times, cpu))
    report.tables.append(
        "### Single calls, 8 connections, 2 workers\n\nA second, and as ratios:\n\n"
        + table("call|ours|predecessor|pgbench|ours / predecessor|of CPU|ours / pgbench|of CPU", rows)
        + "\nMilliseconds of CPU for one, of server + PostgreSQL, and until 99 % are answered:\n\n"
        + table("call|ours|predecessor|pgbench|p99 ours|p99 predecessor", costs)
    )


def before(report: Report, measured: dict[str, Samples]) -> None:
    """Tells of the same calls of the version before."""
    title = "### With keys, rights, journal and tags, and without: the version before\n\n"
    if not measured:
        report.tables.append(title + "Not measured: this clone does not have its commit.\n")
        return
    rows = []
    for name, samples in measured.items():
        mine, old = samples["ours"], samples["before"]
        share, cpu = ratio(mine, old, _rate), ratio(old, mine, _cpu)
        rates = [f"{middle(side, _rate):,.0f}" for side in (mine, old)]
        rows.append([name, *rates, f"{share:.2f}", f"{cpu:.2f}", _costs(mine), _costs(old)])
        if least := OF_BEFORE.get(name):
            said = f"{share:.2f} of the version before (by CPU {cpu:.2f})"
            report.claims.append(at_least(name, said, least, share, cpu))
    heads = "call|a second|before|ours / before|of CPU|ms of CPU, server + PostgreSQL|before"
    report.tables.append(title + table(heads, rows))


def tags(report: Report, measured: dict[str, Samples]) -> None:
    """Tells of answers that say that nothing has changed."""
    rows = []
    for name, samples in measured.items():
        whole, same = samples["200"], samples["304"]
        times, cpu = ratio(same, whole, _rate), ratio(whole, same, _cpu)
        rates = [f"{middle(side, _rate):,.0f}" for side in (same, whole)]
        rows.append([name, *rates, f"{times:.2f}", f"{cpu:.2f}", _costs(same), _costs(whole)])
        said = f"{times:.2f} times its 200 (by CPU {cpu:.2f})"
        report.claims.append(at_least(f"304: {name}", said, NOT_MODIFIED[name], times, cpu))
    heads = "call|304 a second|200|304 / 200|of CPU|ms of CPU, server + PostgreSQL, 304|200"
    report.tables.append("### Not modified\n\n" + table(heads, rows))


def missing(report: Report, samples: Samples) -> None:
    """Tells of the missing among many candidates."""
    bare = samples["bare"]
    said = {
        "server": "HTTP API, the request ready as bytes",
        "client": "our client, from Python datetimes",
        "bare": "the bare anti-join by psycopg, from Python datetimes",
        "rows": "all periods fetched by psycopg and compared",
        "everything": "all releases listed by our client and compared",
    }
    rows = [[said[way], f"{middle(s, _seconds):.2f}", f"{_each(s, bare):.2f}"] for way, s in samples.items()]
    report.tables.append(
        "### Missing: 100,000 candidates against 1,000,000 recorded\n\n"
        "Each finds exactly the 1,000 planted gaps.\n\n" + table("way|seconds|by bare SQL", rows)
    )
    for way, what in (("server", "missing by the HTTP API"), ("client", "missing by our client")):
        of_all, of_bare = _each(samples[way], samples["everything"]), _each(samples[way], bare)
        report.claims += [
            Claim(what, f"{of_all:.3f} of listing all", "at most a third", of_all <= MISSING_OF_ALL),
            Claim(what, f"{of_bare:.2f} of bare SQL", "under 1.5", of_bare < MISSING_OF_BARE),
        ]


def batch(report: Report, samples: Samples) -> None:
    """Tells of many releases in one call."""
    said = {
        "new": "10,000 new releases by our client",
        "again": "the same again",
        "copied": "10,000 rows by bare COPY",
    }
    rows = [
        [said[name], f"{middle(side, _rate):,.0f}", f"{ratio(side, samples['copied'], _rate):.2f}"]
        for name, side in samples.items()
    ]
    report.tables.append("### Many at once, one client\n\n" + table("what|releases a second|of COPY", rows))
    rate = middle(samples["new"], _rate)
    share = ratio(samples["new"], samples["copied"], _rate)
    again = ratio(samples["again"], samples["new"], _rate)
    report.claims += [
        Claim("batch of 10,000", f"{rate:,.0f} a second", f"at least {BATCH_RATE:,}", rate >= BATCH_RATE),
        Claim("batch of 10,000", f"{share:.2f} of COPY", f"at least {BATCH_OF_COPY}", share >= BATCH_OF_COPY),
        Claim("the same batch again, nothing written", f"{again:.2f} times as fast", "faster", again > 1),
    ]


def depth(report: Report, samples: Samples, recorded: int) -> None:
    """Tells of pages of a long list."""
    said = {
        "first": f"the first 1,000 of {recorded:,}",
        "deep": f"1,000 behind {recorded * 0.95:,.0f}",
        "small": "all of 1,000",
    }
    rows = [
        [said[name], f"{1000 / middle(side, _rate):.1f}", f"{ratio(samples['first'], side, _rate):.2f}"]
        for name, side in samples.items()
    ]
    report.tables.append("### Depth of a list, one connection\n\n" + table("page|ms|by the first", rows))
    deep = ratio(samples["first"], samples["deep"], _rate)
    deep = max(deep, 1 / deep)
    claim = f"within {DEEP_OF_FIRST}"
    report.claims.append(Claim(f"deep page of {recorded:,}", f"{deep:.2f}", claim, deep <= DEEP_OF_FIRST))


def startup(report: Report, samples: Samples, packages: list[str]) -> None:
    """Tells of a program's start and of a bare install."""
    rows = [
        [name, f"{1000 * middle(side, _seconds):.0f}", f"{1000 * middle(side, _cpu):.0f}"]
        for name, side in samples.items()
    ]
    names = ", ".join(packages)
    report.tables.append(
        "### Importing and building the client, in a new process\n\n"
        + table("client|ms|ms of CPU", rows)
        + f"\nA bare install brings {len(packages)} packages beside itself: {names}.\n"
    )
    slower = ratio(samples["ours"], samples["theirs"], _seconds)
    claim = "no slower than the predecessor"
    few = len(packages) <= PACKAGES
    report.claims += [
        Claim("import and build the client", f"{slower:.2f} of it", claim, slower <= STARTUP_OF_THEIRS),
        Claim("packages of a bare install", str(len(packages)), f"at most {PACKAGES}", few),
    ]


def text(report: Report, rounds: int, load: float) -> str:
    """Returns the whole as Markdown."""
    rows = [[claim.what, claim.measured, claim.claimed, _holds(claim)] for claim in report.claims]
    date = datetime.now(UTC).date().isoformat()
    about = (
        f"{date}, {machine.named()}, PostgreSQL {postgresql.version()}, Python {platform.python_version()}; "
        f"medians of {rounds} alternating rounds. The load average before it began was {load:.1f}."
    )
    return "\n".join(
        [about, "", "### What we claim", "", table("what|measured|claimed|holds", rows), *report.tables]
    )


def write(figures: str) -> None:
    """Puts the figures into the README in place of those before."""
    said = README.read_text()
    before, after = said.partition(BEGIN)[0], said.partition(END)[2]
    README.write_text(f"{before}{BEGIN}\n{figures.strip()}\n{END}{after}")


def table(heads: str, rows: list[list[str]]) -> str:
    """Returns a table of Markdown."""
    names = heads.split("|")
    rule = ["---", *["---:"] * (len(names) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [names, rule, *rows])


def _holds(claim: Claim) -> str:
    if not claim.holds:
        return "**no**"
    return "by CPU" if claim.only_cpu else "yes"


def at_least(what: str, said: str, least: float, measured: float, by_cpu: float) -> Claim:
    """Returns the claim that a ratio is at least so much, by the rate or else by the CPU time."""
    # A busy machine hits the side that is served in many short turns more than the one in few long ones.
    holds = max(measured, by_cpu) >= least
    return Claim(what, said, f"at least {least}", holds, holds and measured < least)


def _costs(side: list[Sample]) -> str:
    server = 1000 * middle(side, lambda sample: sample.server_cpu / sample.number)
    database = 1000 * middle(side, lambda sample: sample.database_cpu / sample.number)
    return f"{server:.2f} + {database:.2f}"


def _each(side: list[Sample], other: list[Sample]) -> float:
    """Returns the ratio of seconds, of rounds if both have the same, and else of medians."""
    if len(side) == len(other):
        return ratio(side, other, _seconds)
    return middle(side, _seconds) / middle(other, _seconds)


def _rate(sample: Sample) -> float:
    return sample.rate


def _cpu(sample: Sample) -> float:
    return sample.cpu


def _slowest(sample: Sample) -> float:
    return sample.slowest


def _seconds(sample: Sample) -> float:
    return sample.seconds
