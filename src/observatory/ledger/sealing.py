"""Texts that are kept encrypted, each bound to the place where it is kept, and fingerprints of them.

A key ring is a text with a key a line: its name, and 32 bytes in base64. The first key writes, all read. No
key of a ring is used itself: of each, one is derived that seals (AES-256-GCM), and another one that makes
fingerprints (HMAC-SHA256). A fingerprint tells whether two texts are the same, and to nobody without the ring
what they are: not even a guess can be tried.
"""

import base64
import binascii
import hmac
import os
import re
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import Invalid, ObservatoryError

KEY, NONCE, FINGERPRINT = 32, 12, 32  # bytes, bytes, and hexadecimal digits
PREFIX = "sealed:"
NAME = re.compile(r"[a-z0-9-]{1,16}")
SEALED = re.compile(rf"{PREFIX}({NAME.pattern}):([A-Za-z0-9_-]+)")
NEW = "observatory keys ring"  # the command that makes a key


class KeyRing:
    """The keys of a book by their names; the first one writes."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._sealing = {name: AESGCM(_derived(key, "sealing")) for name, key in keys.items()}
        self._marking = {name: _derived(key, "fingerprints") for name, key in keys.items()}
        self._first = next(iter(keys), "")

    def seal(self, text: str, place: str) -> str:
        """Returns a text as it is kept in a place, such as `datasets.address:17`; nowhere else it opens."""
        key = self._sealing[self._writing()]
        nonce = os.urandom(NONCE)
        kept = nonce + key.encrypt(nonce, text.encode(), place.encode())
        return f"{self.current}{base64.urlsafe_b64encode(kept).decode().rstrip('=')}"

    def unseal(self, kept: str, place: str) -> str:
        """Returns the text that is kept in a place; what servers of an earlier version wrote is not sealed.

        Raises ObservatoryError, which says nothing of the text, where the key is not in the ring, or where it
        was not sealed for this place.
        """
        if not kept.startswith(PREFIX):
            return kept
        if not (found := SEALED.fullmatch(kept)):
            raise _broken(place)
        name, body = found.groups()
        if (key := self._sealing.get(name)) is None:
            cure = f"add the line of {name} to the key ring again, from where you keep a copy"
            raise ObservatoryError(f"{place} is sealed with the key {name}, which is not in the ring: {cure}")
        try:
            sealed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            return key.decrypt(sealed[:NONCE], sealed[NONCE:], place.encode()).decode()
        except (binascii.Error, ValueError, InvalidTag):
            raise _broken(place) from None

    @property
    def current(self) -> str:
        """What all begins with that the first key sealed."""
        return f"{PREFIX}{self._writing()}:"

    def is_current(self, kept: str) -> bool:
        """Tells whether what is kept was sealed with the first key."""
        return kept.startswith(self.current)

    def fingerprint(self, text: str) -> str:
        """Returns what stands for a text where it must not be read; the same for the same text."""
        return self._fingerprint(self._writing(), text)

    def digests(self, text: str) -> list[str]:
        """Returns the fingerprints of a text with each key: one of them is kept, whichever key was first."""
        return [self._fingerprint(name, text) for name in self._marking]

    def _fingerprint(self, name: str, text: str) -> str:
        made = hmac.digest(self._marking[name], text.encode(), "sha256")
        return f"hmac:{name}:{made.hex()[:FINGERPRINT]}"

    def _writing(self) -> str:
        """Returns the name of the key that writes."""
        if not self._first:
            raise ObservatoryError(f"addresses are kept sealed, and there is no key ring here; run: {NEW}")
        return self._first


def ring_of(text: str, source: str) -> KeyRing:
    """Returns the ring that a text describes; raises Invalid, which shows no key, where a line is wrong.

    `source` is what the text was read from, as the error is to name it.
    """
    keys: dict[str, bytes] = {}
    wrong: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if words := line.partition("#")[0].split():
            key = _key(words[1]) if len(words) == 2 else None
            if key is None or not NAME.fullmatch(words[0]):
                cure = "must be a name of at most 16 of a-z, 0-9 and -, a space, and 32 bytes in base64"
                wrong[f"line {number}"] = f"{cure}; make one with: {NEW}"
            elif words[0] in keys or key in keys.values():
                wrong[f"line {number}"] = "has the name or the key of a line above: remove one of the two"
            else:
                keys[words[0]] = key
    if not (keys or wrong):
        wrong["line 1"] = f"must be a key; make one with: {NEW}"
    if wrong:
        raise Invalid(f"the key ring of {source} is not what is expected", wrong)
    return KeyRing(keys)


def new_line() -> str:
    """Returns the line of a new key. No two have the same name, so a lost key is told from a wrong one."""
    return f"key-{secrets.token_hex(4)} {base64.b64encode(os.urandom(KEY)).decode()}"


def _key(text: str) -> bytes | None:
    """Returns the bytes of a key; None where the text is not 32 bytes in base64."""
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return key if len(key) == KEY else None


def _derived(key: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), KEY, salt=None, info=f"observatory {purpose}".encode()).derive(key)


def _broken(place: str) -> ObservatoryError:
    cure = "it was changed or moved, or the ring has another key of the same name"
    return ObservatoryError(f"{place} does not hold what was sealed there: {cure}")
