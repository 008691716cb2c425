"""The text of a key: whatever is done to it is noticed, and nothing of the secret is kept."""

import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from observatory import Unauthorized
from observatory.credentials import ALPHABET, FORM, SECRET, hash_of, new_secret, shown, text_of

SECRETS = st.text(ALPHABET, min_size=SECRET, max_size=SECRET)
IDS = st.integers(1, 10**18 - 1)
KEY = text_of(17, "s" * SECRET)


@given(IDS, SECRETS)
def test_a_key_says_which_it_is_and_proves_it(id: int, secret: str) -> None:
    assert shown(text_of(id, secret)) == (id, hash_of(secret))


@given(st.integers(0, len(KEY) - 1), st.sampled_from(string.digits + string.ascii_letters + "_-é "))
def test_one_wrong_character_is_noticed(place: int, character: str) -> None:
    mistyped = KEY[:place] + character + KEY[place + 1 :]
    if mistyped != KEY:
        with pytest.raises(Unauthorized):
            shown(mistyped)


@given(st.integers(0, len(KEY) - 2))
def test_two_characters_in_the_wrong_order_are_noticed(place: int) -> None:
    mistyped = KEY[:place] + KEY[place + 1] + KEY[place] + KEY[place + 2 :]
    if mistyped != KEY:
        with pytest.raises(Unauthorized):
            shown(mistyped)


@given(st.integers(0, len(KEY) - 1))
def test_a_key_that_is_cut_is_noticed(length: int) -> None:
    with pytest.raises(Unauthorized):
        shown(KEY[:length])


@given(st.text())
@example("")
@example(f"{KEY}\n")
@example(f"{KEY} ")
@example(KEY.replace("17", "٣"))
@example(KEY.replace("17", "017"))
def test_what_is_no_key_is_refused_in_our_words_and_not_repeated(text: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        shown(text)
    assert len(text) < 8 or text not in str(refused.value)


def test_an_id_is_a_number_that_a_database_holds() -> None:
    assert shown(text_of(10**18 - 1, "s" * SECRET)).id < 2**63
    with pytest.raises(Unauthorized, match="no key of Observatory"):
        shown(text_of(10**18, "s" * SECRET))


def test_a_secret_has_256_bits_in_characters_that_a_double_click_selects() -> None:
    made = [new_secret() for _ in range(200)]

    assert len(set(made)) == len(made)
    assert all(re.fullmatch(rf"[0-9A-Za-z]{{{SECRET}}}", secret) for secret in made)
    # The smallest number of characters that holds them, each of which varies.
    assert len(ALPHABET) ** (SECRET - 1) < 2**256 <= len(ALPHABET) ** SECRET
    assert all(len({secret[place] for secret in made}) > 5 for place in range(1, SECRET))


def test_scanners_know_a_key_for_what_it_is() -> None:
    assert [found.group() for found in FORM.finditer(f"token: {KEY}, and more")] == [KEY]
