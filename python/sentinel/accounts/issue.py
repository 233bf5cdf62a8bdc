"""The keys we issue: `sk-sen-`, 160 random bits in base 62, a checksum of six characters.

The random part is what makes a key unguessable; the checksum only lets the gateway turn random
strings away before they cost a look-up.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from sentinel.types import ISSUED_PREFIX, base62, issued_key_checksum, issued_key_well_formed

__all__ = ["issue_key", "well_formed"]

_RANDOM_BYTES: Final = 20
_BODY_WIDTH: Final = 27  # 62**27 > 2**160


def issue_key(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A new key."""
    body = base62(int.from_bytes(random_bytes(_RANDOM_BYTES), "big"), _BODY_WIDTH)
    return f"{ISSUED_PREFIX}{body}{issued_key_checksum(body)}"


def well_formed(key: str) -> bool:
    """Whether `key` could be one of ours, by shape and checksum."""
    return issued_key_well_formed(key)
