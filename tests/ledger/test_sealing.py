"""What is sealed is read again in its own place only, and nothing tells what it was."""

import base64
import contextlib
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from observatory import Invalid, ObservatoryError
from observatory.ledger.sealing import KEY, KeyRing, new_line, ring_of
from observatory.records import PRINTABLE

FIRST, SECOND = b"1" * KEY, b"2" * KEY
RING = KeyRing({"first": FIRST})
PLACE = "datasets.address:17"
SECRET = "bigquery.partner.hidden"

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200)
places = st.builds("{}:{}".format, st.sampled_from(["datasets.address", "datasets.name"]), st.integers(1))


def base64_of(key: bytes) -> str:
    return base64.b64encode(key).decode()


def kept_bytes(kept: str) -> bytes:
    body = kept.rpartition(":")[2]
    return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))


def kept_text(head: str, kept: bytes) -> str:
    return f"{head}{base64.urlsafe_b64encode(kept).decode().rstrip('=')}"


def refusal(ring: KeyRing, kept: str, place: str = PLACE) -> str:
    with pytest.raises(ObservatoryError) as raised:
        ring.unseal(kept, place)
    return f"{raised.value} {raised.value.problem()!r}"


@given(texts, places)
def test_what_is_sealed_is_read_again(text: str, place: str) -> None:
    assert re.match(PRINTABLE, text)
    kept = RING.seal(text, place)

    assert RING.unseal(kept, place) == text
    assert text not in kept or len(text) < 8
    assert kept.startswith("sealed:first:")


@given(texts, places, places)
def test_what_is_sealed_opens_in_no_other_place(text: str, place: str, other: str) -> None:
    assume(place != other)

    told = refusal(RING, RING.seal(text, place), other)

    assert other in told
    assert text not in told or len(text) < 8


@given(texts, st.data())
def test_one_flipped_bit_is_noticed(text: str, data: st.DataObject) -> None:
    kept = bytearray(kept_bytes(RING.seal(text, PLACE)))
    bit = data.draw(st.integers(0, 8 * len(kept) - 1))
    kept[bit // 8] ^= 1 << bit % 8

    told = refusal(RING, kept_text("sealed:first:", bytes(kept)))

    assert "was changed" in told
    assert text not in told or len(text) < 8


@given(texts, st.integers(len("sealed:")), st.characters(codec="utf-8"))
def test_a_changed_character_never_makes_another_text(text: str, at: int, other: str) -> None:
    kept = RING.seal(text, PLACE)
    at %= len(kept)
    assume(at >= len("sealed:"))
    changed = f"{kept[:at]}{other}{kept[at + 1 :]}"

    with contextlib.suppress(ObservatoryError):
        assert RING.unseal(changed, PLACE) == text


@pytest.mark.parametrize("kept", ["sealed:", "sealed:first:", "sealed:first:AAAAA", f"sealed:{SECRET}"])
def test_what_only_looks_sealed_is_an_error_that_does_not_tell_it(kept: str) -> None:
    told = refusal(RING, kept)

    assert PLACE in told
    assert SECRET not in told


def test_the_same_text_is_sealed_otherwise_each_time() -> None:
    assert len({RING.seal(SECRET, PLACE) for _ in range(100)}) == 100


def test_what_was_kept_before_there_were_rings_is_read_as_it_is() -> None:
    assert RING.unseal(SECRET, PLACE) == SECRET
    assert not RING.is_current(SECRET)


def test_the_first_key_writes_and_all_read() -> None:
    old, new = RING.seal(SECRET, PLACE), KeyRing({"second": SECOND}).seal(SECRET, PLACE)
    both = KeyRing({"second": SECOND, "first": FIRST})

    assert [both.unseal(kept, PLACE) for kept in (old, new)] == [SECRET, SECRET]
    assert both.seal(SECRET, PLACE).startswith("sealed:second:")
    assert [both.is_current(kept) for kept in (old, new)] == [False, True]


def test_a_key_that_is_gone_is_named() -> None:
    told = refusal(KeyRing({"second": SECOND}), RING.seal(SECRET, PLACE))

    assert "the key first, which is not in the ring" in told
    assert PLACE in told


def test_another_key_of_the_same_name_opens_nothing() -> None:
    assert "another key of the same name" in refusal(KeyRing({"first": SECOND}), RING.seal(SECRET, PLACE))


def test_a_key_whose_name_begins_as_another_does_is_another() -> None:
    kept = KeyRing({"first-2": SECOND}).seal(SECRET, PLACE)

    assert not RING.is_current(kept)


def test_without_a_ring_nothing_is_sealed_and_the_cure_is_said() -> None:
    with pytest.raises(ObservatoryError, match="observatory keys ring"):
        KeyRing({}).seal(SECRET, PLACE)
    with pytest.raises(ObservatoryError, match="observatory keys ring"):
        KeyRing({}).fingerprint(SECRET)


@given(texts, texts)
def test_fingerprints_are_the_same_for_the_same_text_only(text: str, other: str) -> None:
    assume(text != other)

    assert RING.fingerprint(text) == KeyRing({"first": FIRST}).fingerprint(text)
    assert RING.fingerprint(text) != RING.fingerprint(other)
    assert re.fullmatch("hmac:first:[0-9a-f]{32}", RING.fingerprint(text))


def test_nobody_without_the_ring_can_try_a_guess() -> None:
    assert KeyRing({"first": SECOND}).fingerprint(SECRET) != RING.fingerprint(SECRET)


def test_what_was_marked_is_found_while_keys_rotate() -> None:
    marked = RING.fingerprint(SECRET)
    both = KeyRing({"second": SECOND, "first": FIRST})

    assert marked in both.digests(SECRET)
    assert both.digests(SECRET)[0] == both.fingerprint(SECRET) != marked


def test_a_ring_is_a_key_a_line() -> None:
    text = f"# ours\n\n  first   {base64_of(FIRST)}  # since May\r\nsecond {base64_of(SECOND)}"
    ring = ring_of(text, "here")

    assert ring.unseal(RING.seal(SECRET, PLACE), PLACE) == SECRET
    assert ring.is_current(RING.seal(SECRET, PLACE))


def test_a_new_line_is_a_ring_and_no_other_is_the_same() -> None:
    lines = [new_line() for _ in range(50)]
    names = {line.split()[0] for line in lines}

    assert len(names) == 50
    ring = ring_of("\n".join(lines), "here")
    assert ring.current == f"sealed:{lines[0].split()[0]}:"


KEY_TEXT = base64_of(FIRST)
MALFORMED = {
    "nothing": ("", "line 1", "must be a key"),
    "only a comment": (f"# first {KEY_TEXT}", "line 1", "must be a key"),
    "no name": (KEY_TEXT, "line 1", "must be a name"),
    "no key": ("first", "line 1", "must be a name"),
    "too much": (f"first {KEY_TEXT} {KEY_TEXT}", "line 1", "must be a name"),
    "a name in capitals": (f"First {KEY_TEXT}", "line 1", "must be a name"),
    "a long name": (f"{'a' * 17} {KEY_TEXT}", "line 1", "must be a name"),
    "a short key": (f"\nfirst {base64_of(b'1' * 31)}", "line 2", "32 bytes"),
    "a long key": (f"first {base64_of(b'1' * 33)}", "line 1", "32 bytes"),
    "no base64": (f"first {'!' * 44}", "line 1", "base64"),
    "a letter of others": (f"first {'é' * 44}", "line 1", "base64"),
    "a name twice": (f"first {KEY_TEXT}\nfirst {base64_of(SECOND)}", "line 2", "a line above"),
    "a key twice": (f"first {KEY_TEXT}\nsecond {KEY_TEXT}", "line 2", "a line above"),
}


@pytest.mark.parametrize(("text", "line", "cure"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_wrong_line_is_named_with_its_cure_and_no_key_is_shown(text: str, line: str, cure: str) -> None:
    with pytest.raises(Invalid, match="the key ring of here") as raised:
        ring_of(text, "here")

    assert cure in raised.value.fields[line]
    for secret in (KEY_TEXT, base64_of(SECOND), base64_of(b"1" * 31), base64_of(b"1" * 33)):
        assert secret not in str(raised.value)


def test_all_wrong_lines_are_named_at_once() -> None:
    with pytest.raises(Invalid) as raised:
        ring_of(f"a\nfirst {KEY_TEXT}\nb", "here")

    assert list(raised.value.fields) == ["line 1", "line 3"]
