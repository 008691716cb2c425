"""What YAML can do beyond lists, mappings and plain values, and how plain values are read."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.cli.catalogue.difference import same
from observatory.cli.catalogue.export import _yaml
from observatory.cli.catalogue.mistakes import WrongFile
from observatory.cli.catalogue.source import load

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
LIKELY = st.from_regex(r"[-+]?[0-9._:~exoEX]{1,6}|no|y|null|True|<<|=|2021-01-01", fullmatch=True)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | LIKELY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | LIKELY, inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_what_is_exported_is_read_as_it_was(value: Any) -> None:
    assert same(load(_yaml({"extras": value})).value["extras"], value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("12:30", "12:30"),
        ("2021-01-31", "2021-01-31"),
        ("0123", "0123"),
        ("1_000", "1_000"),
        ("-12", -12),
        ("1.50", 1.5),
        ("true", True),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ("|\n  5\n", "5\n"),
        (".inf", ".inf"),
    ],
)
def test_a_plain_value_is_what_it_looks_like(text: str, value: Any) -> None:
    assert same(load(f"a: {text}").value["a"], value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: &a [1]\nb: *a", ":2: refers to &a: write out what stands there"),
        ("a: !!python/object/apply:os.system [x]", ":1: has the tag tag:yaml.org,2002:python/object/apply"),
        ("a: !!str 5", ":1: has the tag"),
        ("a: 1\n---\nb: 2", ":2: begins a second document"),
        ("a: 1\nb: 2\na: 3", ":3: says 'a' a second time"),
        ("a:\n- [b\n", ":3: is not YAML"),
        ("a:\n\t- b", ":2: is not YAML"),
        ("{[1]: 2}", ":1: has a key that is no text"),
        ("a\x00", ": is not YAML"),
        ("[" * 300_000, ":1: is nested deeper than 40"),
        ("- " * 300_000, ":1: is nested deeper than 40"),
        ("{a: " * 300_000, ":1: is nested deeper than 40"),
    ],
)
def test_what_a_catalogue_must_not_do_is_refused(text: str, error: str) -> None:
    with pytest.raises(WrongFile) as refused:
        load(text)
    assert WrongFile(refused.value.mistakes).message.startswith(error)


def test_numbers_and_truths_are_never_the_same() -> None:
    assert not same({"a": [True]}, {"a": [1]})
    assert not same(0, False)
    assert same({"a": [1]}, {"a": [1.0]})
    assert not same(math.pi, None)
