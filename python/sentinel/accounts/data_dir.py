"""The data directory and the pepper in it.

A directory we make is 0700. One that exists is left as it is, but refused when others may write
to it: they could exchange the pepper or the key store. The pepper is 32 random bytes in a 0600
file that appears whole or not at all, so two starts at once agree on one.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from sentinel.errors import AccountsError

__all__ = ["load_pepper", "prepare_data_dir"]

_PEPPER_BYTES: Final = 32
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ANY: Final = stat.S_IRWXG | stat.S_IRWXO


def prepare_data_dir(data_dir: Path) -> Path:
    """Make `data_dir` (0700) unless it exists; AccountsError when it is not safe to use."""
    try:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        data_dir.mkdir(mode=0o700, exist_ok=True)
        mode = data_dir.stat().st_mode
    except OSError as error:
        raise AccountsError(f"data directory {data_dir}: {error.strerror}") from None
    if mode & _OTHERS_WRITE:
        raise AccountsError(
            f"data directory {data_dir} can be written by others: run `chmod 700` on it, "
            "or name a directory of its own"
        )
    return data_dir


def load_pepper(data_dir: Path, given: str | None = None) -> bytes:
    """The pepper: the given one, else the one kept in `data_dir`, made on first use."""
    if given is not None:
        return given.encode()
    path = data_dir / "pepper"
    try:
        if not path.exists():
            _create(prepare_data_dir(data_dir), path)
        return _read(path)
    except OSError as error:
        raise AccountsError(f"pepper {path}: {error.strerror}") from None


def _create(data_dir: Path, path: Path) -> None:
    draft = data_dir / f".pepper.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_PEPPER_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # another start was first: its pepper is the one
        _sync_directory(data_dir)
    finally:
        draft.unlink()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        pepper = file.read(_PEPPER_BYTES + 1)
    if mode & _OTHERS_ANY:
        raise AccountsError(f"pepper {path} can be read by others: run `chmod 600` on it")
    if len(pepper) != _PEPPER_BYTES:
        raise AccountsError(f"pepper {path} is not {_PEPPER_BYTES} bytes: it was not made by us")
    return pepper
