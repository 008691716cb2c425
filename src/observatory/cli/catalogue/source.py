"""The text of a catalogue file as plain values, and the line on which each stands.

A catalogue may come from anybody, so what YAML can do beyond lists, mappings and plain values is refused:
aliases, with which a small file grows without end, and tags, which name Python's objects. Unquoted values are
those of YAML 1.2: `no` and `12:30` and `2021-01-01` are texts.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from .mistakes import Mistake, Path, WrongFile

LARGEST = 16 * 2**20
DEEPEST = 40

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
# Of numbers only those that PyYAML, which writes the exports, puts in quotes when they are texts.
DECIMAL = re.compile(r"([-+]?[0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]{1,3})?")
WORDS = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}


Lines = dict[Path, int | None]


class Source(NamedTuple):
    """What a file says, and the line of each path in it, as ("datasets", 0, "name")."""

    value: Any
    lines: Lines


def load(text: str) -> Source:
    """Reads a YAML text; raises WrongFile where it is none, or uses what a catalogue must not."""
    # libyaml where it is there, since it is ten times as fast. It is asked for events only: it ends the
    # process on deeply nested text when it makes values of them itself.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    lines: Lines = {}
    try:
        events = iter(yaml.parse(text, Loader=loader))
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                source = Source(_value(next(events), events, (), lines), lines)
                _check_end(events)
                return source
    except yaml.MarkedYAMLError as error:
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise WrongFile(
            [Mistake(_line(error.problem_mark or error.context_mark), f"is not YAML: {said}")]
        ) from None
    except yaml.YAMLError as error:
        raise WrongFile([Mistake(None, f"is not YAML: {' '.join(str(error).split())}")]) from None
    return Source(None, lines)


def _check_end(events: Iterator[yaml.Event]) -> None:
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            raise _wrong(event, "begins a second document: a catalogue is one")


def _value(event: yaml.Event, events: Iterator[yaml.Event], path: Path, lines: Lines) -> Any:
    """Returns the value that begins with an event, and takes its other events."""
    if isinstance(event, yaml.AliasEvent):
        raise _wrong(event, f"refers to &{event.anchor}: write out what stands there")
    assert isinstance(event, yaml.NodeEvent)
    if tag := getattr(event, "tag", None):
        raise _wrong(event, f"has the tag {tag}: leave it out, and put texts in quotes")
    if len(path) > DEEPEST:
        raise _wrong(event, f"is nested deeper than {DEEPEST}")
    lines.setdefault(path, _line(event.start_mark))
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    if isinstance(event, yaml.SequenceStartEvent):
        return _list(events, path, lines)
    return _mapping(events, path, lines)


def _list(events: Iterator[yaml.Event], path: Path, lines: Lines) -> list[Any]:
    made: list[Any] = []
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        made.append(_value(event, events, (*path, len(made)), lines))
    return made


def _mapping(events: Iterator[yaml.Event], path: Path, lines: Lines) -> dict[str, Any]:
    made: dict[str, Any] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        if not isinstance(event, yaml.ScalarEvent):
            raise _wrong(event, "has a key that is no text")
        # Whatever it looks like: JSON, which keeps it, knows texts as keys only.
        key = str(event.value)
        if key in made:
            raise _wrong(event, f"says {key!r} a second time")
        lines[*path, key] = _line(event.start_mark)
        made[key] = _value(next(events), events, (*path, key), lines)
    return made


def _scalar(event: yaml.ScalarEvent) -> Any:
    text = str(event.value)
    if event.style:  # quoted, or a block of text
        return text
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    if DECIMAL.fullmatch(text):
        return float(text)
    return text


def _wrong(event: yaml.Event, why: str) -> WrongFile:
    return WrongFile([Mistake(_line(event.start_mark), why)])


def _line(mark: Any) -> int | None:
    """Returns the line, as people count them, of a place that either of the parsers names."""
    return mark.line + 1 if mark else None
