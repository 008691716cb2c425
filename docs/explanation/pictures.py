"""Draws the pictures of `missing.md`: `python docs/explanation/pictures.py` writes them beside it.

Each is a card with lanes along a line of time. A card has a ground of its own, so that it reads wherever it
is shown, and turns dark where its reader has asked for dark pages. Text stays text.
"""

from html import escape
from pathlib import Path
from typing import NamedTuple

WIDTH, LEFT, RIGHT, TOP, LANE, BAR = 860, 170, 24, 66, 46, 26
LIGHT = {
    "ground": "#ffffff",
    "ink": "#1f2328",
    "faint": "#59636e",
    "line": "#d1d9e0",
    "offer": "#ddf4ff",
    "offer-line": "#0969da",
    "expect": "#f6f8fa",
    "expect-line": "#59636e",
    "have": "#dafbe1",
    "have-line": "#1a7f37",
    "miss": "#ffebe9",
    "miss-line": "#cf222e",
    "claim": "#fbefff",
    "claim-line": "#8250df",
    "wait": "#fff8c5",
    "wait-line": "#9a6700",
}
DARK = {
    "ground": "#0d1117",
    "ink": "#f0f6fc",
    "faint": "#9198a1",
    "line": "#3d444d",
    "offer": "#0c2d6b",
    "offer-line": "#58a6ff",
    "expect": "#151b23",
    "expect-line": "#9198a1",
    "have": "#033a16",
    "have-line": "#3fb950",
    "miss": "#67060c",
    "miss-line": "#f85149",
    "claim": "#3c1e70",
    "claim-line": "#ab7df8",
    "wait": "#4b2900",
    "wait-line": "#d29922",
}


class Bar(NamedTuple):
    """A period in a lane, from and to a place on the line of time, drawn as what it is."""

    start: float
    end: float
    text: str
    kind: str


class Mark(NamedTuple):
    """A moment in a lane, with what happens then."""

    at: float
    text: str
    kind: str = "ink"
    anchor: str = "start"


class Lane(NamedTuple):
    """A row of the picture: what it shows, and its periods and moments."""

    name: str
    drawn: list[Bar | Mark]


class Picture(NamedTuple):
    """A picture: its title, what stands at the line of time, how long that is, and its lanes."""

    title: str
    ticks: list[tuple[float, str]]
    length: float
    lanes: list[Lane]
    between: bool = False  # a tick names the stretch behind it, as a day, and not a moment


def days(names: str) -> list[tuple[float, str]]:
    """Returns the ticks of days that follow each other."""
    return [(float(at), name) for at, name in enumerate(names.split(" "))]


WEEK = days("Mon·5 Tue·6 Wed·7 Thu·8 Fri·9 Sat·10 Sun·11")
PICTURES = {
    "missing": Picture(
        "What should be there, less what is settled, is missing",
        WEEK,
        7,
        [
            Lane(
                "the source offers",
                [Bar(day, day + 1, text, "offer") for day, text in enumerate(("v1", "v1", "v2"))]
                + [Bar(5, 6, "v1", "offer")],
            ),
            Lane("the cadence expects", [Bar(day, day + 1, "", "expect") for day in range(5)]),
            Lane(
                "the book has",
                [
                    Bar(0, 1, "v1", "have"),
                    Bar(1, 2, "withdrawn", "expect"),
                    Bar(2, 3, "v1", "have"),
                ],
            ),
            Lane(
                "so it is missing",
                [
                    Bar(1, 2, "withdrawn", "miss"),
                    Bar(2, 3, "restated", "miss"),
                    Bar(3, 5, "late", "miss"),
                    Bar(5, 6, "offered", "miss"),
                ],
            ),
        ],
        between=True,
    ),
    "covered": Picture(
        "What is expected may be covered, what is offered is settled by just its period",
        WEEK,
        7,
        [
            Lane("the source offers", [Bar(5, 6, "Saturday", "offer")]),
            Lane("the cadence expects", [Bar(3, 4, "Thursday", "expect"), Bar(4, 5, "Friday", "expect")]),
            Lane("the book has", [Bar(0, 7, "all of January, loaded at once", "have")]),
            Lane(
                "so it is missing",
                [Mark(3.05, "nothing: both are covered", "have-line"), Bar(5, 6, "offered", "miss")],
            ),
        ],
        between=True,
    ),
    "revisions": Picture(
        "One period as time goes by: withdrawn, loaded again, restated, loaded again",
        [(2, "found bad"), (3.7, "loaded again"), (5.7, "the source tells v2"), (7.4, "loaded again")],
        9,
        [
            Lane("the source offers", [Bar(0, 5.7, "v1", "offer"), Bar(5.7, 9, "v2", "offer")]),
            Lane(
                "the book has",
                [
                    Bar(0, 2, "revision 1: v1", "have"),
                    Bar(2, 3.7, "withdrawn", "expect"),
                    Bar(3.7, 7.4, "revision 2: v1", "have"),
                    Bar(7.4, 9, "revision 3: v2", "have"),
                ],
            ),
            Lane("so it is missing", [Bar(2, 3.7, "withdrawn", "miss"), Bar(5.7, 7.4, "restated", "miss")]),
            Lane(
                "asked later, as of",
                [
                    Mark(1, "revision 1", "faint", "middle"),
                    Mark(2.85, "nothing", "faint", "middle"),
                    Mark(4.7, "revision 2", "faint", "middle"),
                    Mark(6.55, "revision 2", "faint", "middle"),
                    Mark(8.2, "revision 3", "faint", "middle"),
                ],
            ),
        ],
    ),
    "claim": Picture(
        "A claim is granted, renewed, runs out and is taken over; who comes back is refused",
        [(0, "9:00"), (10, "9:10"), (20, "9:20"), (30, "9:30"), (40, "9:40")],
        46,
        [
            Lane(
                "Ann's claim 1",
                [
                    Bar(0, 5, "", "claim"),
                    Bar(5, 20, "renewed at 9:05", "claim"),
                    Mark(20.5, "runs out", "miss-line"),
                ],
            ),
            Lane(
                "Ben's claim 2",
                [Bar(26, 36, "takes it over", "claim"), Mark(36.5, "records: it ends", "have-line")],
            ),
            Lane(
                "it is missing",
                [
                    Bar(0, 20, "claimed", "miss"),
                    Bar(20, 26, "failed", "miss"),
                    Bar(26, 36, "claimed", "miss"),
                ],
            ),
            Lane("Ann comes back", [Mark(36.5, "with 1: refused", "miss-line")]),
        ],
    ),
    "pauses": Picture(
        "After each failure a longer pause: 5 minutes, doubled up to a day",
        [(0, "0:00"), (5, "0:05"), (15, "0:15"), (35, "0:35"), (75, "1:15")],
        84,
        [
            Lane(
                "a load fails",
                [
                    Mark(at, text, "miss-line")
                    for at, text in ((0, "1st"), (5, "2nd"), (15, "3rd"), (35, "4th"))
                ],
            ),
            Lane(
                "nobody is granted it",
                [
                    Bar(0, 5, "5", "wait"),
                    Bar(5, 15, "10", "wait"),
                    Bar(15, 35, "20 minutes", "wait"),
                    Bar(35, 75, "40 minutes", "wait"),
                ],
            ),
            Lane(
                "it is missing",
                [Bar(0, 75, "failed, with the last error", "miss"), Mark(75.5, "loaded", "have-line")],
            ),
        ],
    ),
    "late": Picture(
        "Due when the day is over, late when the grace is over too",
        [(0, "Thu 0:00"), (24, "Fri 0:00"), (30, "6:00"), (33, "9:00")],
        44,
        [
            Lane("the cadence expects", [Bar(0, 24, "Thursday", "expect"), Bar(24, 30, "grace", "wait")]),
            Lane(
                "it is missing",
                [
                    Bar(24, 30, "expected", "miss"),
                    Bar(30, 33, "late", "miss"),
                    Mark(33.4, "recorded", "have-line"),
                ],
            ),
            Lane(
                "status of the dataset",
                [
                    Bar(0, 24, "complete", "have"),
                    Bar(24, 30, "due", "wait"),
                    Bar(30, 33, "late", "miss"),
                    Bar(33, 44, "complete", "have"),
                ],
            ),
            Lane("in the journal", [Mark(29.8, "became late", "ink", "end"), Mark(33.4, "recovered")]),
        ],
    ),
}


def place(picture: Picture, at: float) -> float:
    """Returns how far to the right a moment is drawn."""
    return round(LEFT + at * (WIDTH - LEFT - RIGHT) / picture.length, 1)


def text(x: float, y: float, said: str, fill: str, anchor: str = "start", more: str = "") -> str:
    """Returns a text of the picture."""
    return f'<text x="{x}" y="{y}" class="{fill}" text-anchor="{anchor}"{more}>{escape(said)}</text>'


def bar(picture: Picture, one: Bar, y: float) -> list[str]:
    """Returns a period, with its text in the middle."""
    x, end = place(picture, one.start), place(picture, one.end)
    width = round(end - x - 2, 1)
    box = f'<rect x="{x + 1}" y="{y}" width="{width}" height="{BAR}" rx="4" class="{one.kind}"/>'
    return [box, text(round((x + end) / 2, 1), y + 18, one.text, "ink", "middle")] if one.text else [box]


def mark(picture: Picture, one: Mark, y: float) -> str:
    """Returns what happens at a moment."""
    return text(place(picture, one.at), y + 18, one.text, one.kind, one.anchor)


def axis(picture: Picture, bottom: float) -> list[str]:
    """Returns the line of time, and thin lines down from it."""
    drawn = []
    for at, said in picture.ticks:
        x = place(picture, at)
        middle = place(picture, at + 0.5) if picture.between else x
        drawn.append(f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{bottom}" class="line"/>')
        drawn.append(text(middle, TOP - 14, said.replace("·", " "), "faint", "middle"))
    return drawn


def colours(of: dict[str, str]) -> str:
    """Returns the rules that give everything its colour."""
    filled = [name for name in of if f"{name}-line" in of]
    rules = [f".{name} {{ fill: {of[name]}; stroke: {of[f'{name}-line']}; }}" for name in filled]
    rules += [f".{name} {{ fill: {colour}; }}" for name, colour in of.items() if name not in filled]
    return " ".join(
        [*rules, f"line.line {{ stroke: {of['line']}; }}", f".ground {{ stroke: {of['line']}; }}"]
    )


def svg(picture: Picture) -> str:
    """Returns the picture as SVG."""
    height = TOP + len(picture.lanes) * LANE + 4
    drawn = [f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" class="ground"/>']
    drawn.append(text(18, 28, picture.title, "ink", more=' font-weight="600"'))
    drawn += axis(picture, height - 14)
    for row, lane in enumerate(picture.lanes):
        y = TOP + row * LANE + 4
        drawn.append(text(18, y + 18, lane.name, "faint"))
        for one in lane.drawn:
            drawn += bar(picture, one, y) if isinstance(one, Bar) else [mark(picture, one, y)]
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">
<title>{escape(picture.title)}</title>
<style>
text {{ font: 14px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }}
.expect {{ stroke-dasharray: 4 3; }}
{colours(LIGHT)}
@media (prefers-color-scheme: dark) {{ {colours(DARK)} }}
</style>
{chr(10).join(drawn)}
</svg>
"""


if __name__ == "__main__":
    for name, picture in PICTURES.items():
        Path(__file__).with_name(f"{name}.svg").write_text(svg(picture))
