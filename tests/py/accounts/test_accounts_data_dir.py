"""The data directory and the pepper: private, whole, one."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sentinel.accounts import load_pepper, prepare_data_dir
from sentinel.errors import AccountsError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_we_make_is_private(tmp_path: Path) -> None:
    data_dir = prepare_data_dir(tmp_path / "a" / "data")
    pepper = load_pepper(data_dir)
    assert mode(data_dir) == 0o700
    assert mode(data_dir / "pepper") == 0o600
    assert len(pepper) == 32
    assert load_pepper(data_dir) == pepper
    assert [path.name for path in data_dir.iterdir()] == ["pepper"]


def test_starts_at_once_agree_on_one_pepper(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        peppers = list(pool.map(load_pepper, [tmp_path / "data"] * 32))
    assert len(set(peppers)) == 1


def test_a_given_pepper_is_used_and_nothing_is_written(tmp_path: Path) -> None:
    assert load_pepper(tmp_path / "data", "given" * 8) == b"given" * 8
    assert not (tmp_path / "data").exists()


def test_a_directory_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(AccountsError, match="can be written by others"):
        prepare_data_dir(tmp_path)
    assert mode(tmp_path) == 0o777


@pytest.mark.parametrize(
    ("content", "permissions", "message"),
    [(b"x" * 31, 0o600, "32 bytes"), (b"x" * 33, 0o600, "32 bytes"), (b"x" * 32, 0o644, "chmod")],
)
def test_a_pepper_that_is_not_ours_or_not_private_is_refused(
    tmp_path: Path, content: bytes, permissions: int, message: str
) -> None:
    (tmp_path / "pepper").write_bytes(content)
    (tmp_path / "pepper").chmod(permissions)
    with pytest.raises(AccountsError, match=message):
        load_pepper(tmp_path)


def test_a_place_that_cannot_be_a_directory_is_an_expected_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(AccountsError):
            load_pepper(place)
