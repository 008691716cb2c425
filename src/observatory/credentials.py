"""The text of a key: `obs_<id>_<secret>_<checksum>`. Pure, but for the chance in a new secret.

The prefix lets people and scanners know it for what it is, the id says which key it is, the secret has 256
bits, and the checksum (CRC-32) tells a slip of the hand from a wrong key without asking anybody.
"""

import hashlib
import re
import secrets
import string
import zlib
from typing import NamedTuple

from .errors import Unauthorized

# An id has 18 digits at most, so that each is a number that a database holds.
ALPHABET = string.digits + string.ascii_letters
SECRET, CHECKSUM = 43, 6  # so many of 62 characters hold 256 and 32 bits
FORM = re.compile(rf"(obs_([1-9][0-9]{{0,17}})_([0-9A-Za-z]{{{SECRET}}}))_([0-9A-Za-z]{{{CHECKSUM}}})")


class Shown(NamedTuple):
    """What a caller shows: which key it says it is, and the hash that proves it."""

    id: int
    hash: str


def new_secret() -> str:
    """Returns a secret that nobody guesses."""
    return _spelt(secrets.randbits(256), SECRET)


def hash_of(secret: str) -> str:
    """Returns what is kept of a secret: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def text_of(id: int, secret: str) -> str:
    """Returns the text of a key, as it is shown once."""
    head = f"obs_{id}_{secret}"
    return f"{head}_{_checksum(head)}"


def shown(text: str) -> Shown:
    """Returns what a key says; raises Unauthorized where it is none, or was mistyped."""
    if not (found := FORM.fullmatch(text)):
        raise Unauthorized("this is no key of Observatory: one looks like obs_17_…_…")
    head, id, secret, checksum = found.groups()
    if _checksum(head) != checksum:
        raise Unauthorized("the key is mistyped or cut: its checksum does not fit; copy it whole")
    return Shown(int(id), hash_of(secret))


def _checksum(head: str) -> str:
    return _spelt(zlib.crc32(head.encode()), CHECKSUM)


def _spelt(number: int, length: int) -> str:
    """Returns a number in the characters of ALPHABET, filled up with zeros."""
    made = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        made.append(ALPHABET[digit])
    return "".join(reversed(made))
