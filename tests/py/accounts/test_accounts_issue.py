"""Issued keys, their digests, and comparing them."""

from __future__ import annotations

import hashlib
import hmac
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.accounts import SecretCheck, issue_key, key_digest, well_formed
from sentinel.accounts import digest as digest_module

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def number(text: str) -> int:
    value = 0
    for character in text:
        value = value * 62 + BASE62.index(character)
    return value


@given(st.binary(min_size=20, max_size=20))
def test_a_key_is_160_bits_in_base_62_and_their_checksum(random: bytes) -> None:
    key = issue_key(lambda size: random[:size])
    assert len(key) == 40
    assert key.startswith("sk-sen-")
    assert number(key[7:34]) == int.from_bytes(random, "big")
    assert number(key[34:]) == zlib.crc32(key[7:34].encode())
    assert well_formed(key)


@given(st.integers(7, 39), st.sampled_from(BASE62))
def test_one_changed_character_is_noticed(place: int, character: str) -> None:
    key = issue_key(lambda size: b"\x5a" * size)
    changed = key[:place] + character + key[place + 1 :]
    assert well_formed(changed) == (changed == key)


@given(st.text(max_size=60))
def test_random_text_is_no_key_of_ours(text: str) -> None:
    assert not well_formed(text)
    assert not well_formed("sk-sen-" + text)


def test_two_keys_are_never_the_same() -> None:
    assert len({issue_key() for _ in range(1000)}) == 1000


def test_the_digest_is_hmac_sha256_of_the_whole_key() -> None:
    told = hmac.new(b"pepper", b"credential", hashlib.sha256).digest()
    assert key_digest(b"pepper", "credential") == key_digest(b"pepper", b"credential") == told


@pytest.mark.parametrize("shared", [20, 64, 128])
def test_s11_keys_with_a_shared_prefix_share_nothing(shared: int) -> None:
    one, other = (key_digest(b"p", "x" * shared + end) for end in ("a", "b"))
    assert one[:4] != other[:4]


def test_s13_a_secret_is_compared_by_digest_and_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both sides are 32 bytes whatever was presented, and only compare_digest looks at them."""
    compared: list[tuple[bytes, bytes]] = []

    def watched(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    check = SecretCheck(b"pepper", "the-admin-key-itself")
    monkeypatch.setattr(digest_module, "compare_digest", watched)
    presented = ["the-admin-key-itself", "the-admin-key-itselF", "t", "", "x" * 10_000, "\udcff"]
    assert [check.matches(secret) for secret in presented] == [True, *[False] * 5]
    assert [len(one) + len(other) for one, other in compared] == [64] * 6
