"""What is kept of a key: HMAC-SHA-256 of the whole key under the pepper.

The whole credential is hashed (S11), so keys that share a prefix share nothing else; comparison
is over digests and in constant time (S13), so how much of a guess was right cannot be measured.
"""

from __future__ import annotations

import hashlib
from hmac import compare_digest
from hmac import new as new_hmac

__all__ = ["SecretCheck", "key_digest"]


def key_digest(pepper: bytes, credential: str | bytes) -> bytes:
    """The 32 bytes by which the gateway knows `credential`."""
    if isinstance(credential, str):
        credential = credential.encode("utf-8", "surrogatepass")
    return new_hmac(pepper, credential, hashlib.sha256).digest()


class SecretCheck:
    """Knows one secret by its digest only, and says whether a presented one is it."""

    def __init__(self, pepper: bytes, secret: str | bytes) -> None:
        self._pepper = pepper
        self._digest = key_digest(pepper, secret)

    def matches(self, presented: str | bytes) -> bool:
        """Whether `presented` is the secret; the time taken does not depend on how close it is."""
        return compare_digest(self._digest, key_digest(self._pepper, presented))
