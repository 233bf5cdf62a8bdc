"""The control socket: a change made by a command is in force when the command returns."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from sentinel.accounts import ControlServer, notify
from sentinel.accounts.control import SOCKET_NAME
from sentinel.errors import ControlError


async def told(data_dir: Path, timeout_seconds: float = 30.0) -> bool:
    return await asyncio.to_thread(notify, data_dir, timeout_seconds)


async def say(data_dir: Path, line: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(data_dir / SOCKET_NAME))
    writer.write(line)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_the_answer_comes_after_the_change_is_in_force(tmp_path: Path) -> None:
    seen: list[str] = []

    async def reload() -> None:
        seen.append("begun")
        await asyncio.sleep(0)
        seen.append("done")

    async with ControlServer(tmp_path, reload):
        assert await told(tmp_path)
        assert seen == ["begun", "done"]
        assert await told(tmp_path)
        assert stat.S_IMODE((tmp_path / SOCKET_NAME).stat().st_mode) == 0o600
    assert seen == ["begun", "done"] * 2
    assert not (tmp_path / SOCKET_NAME).exists()


async def test_a_plain_function_may_reload_too(tmp_path: Path) -> None:
    seen: list[int] = []
    async with ControlServer(tmp_path, lambda: seen.append(1)):
        assert await told(tmp_path)
    assert seen == [1]


async def test_reloads_never_overlap(tmp_path: Path) -> None:
    running = 0

    async def reload() -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        running -= 1

    async with ControlServer(tmp_path, reload):
        assert all(await asyncio.gather(*(told(tmp_path) for _ in range(8))))


def test_without_a_gateway_nobody_is_told(tmp_path: Path) -> None:
    assert notify(tmp_path) is False
    assert notify(tmp_path / "none") is False


async def test_a_socket_left_by_a_killed_gateway_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / SOCKET_NAME))
    assert notify(tmp_path) is False
    async with ControlServer(tmp_path, lambda: None):
        assert await told(tmp_path)


async def test_a_second_gateway_on_the_directory_is_refused(tmp_path: Path) -> None:
    async with ControlServer(tmp_path, lambda: None):
        with pytest.raises(ControlError, match="another gateway"):
            await ControlServer(tmp_path, lambda: None).start()
        assert await told(tmp_path)


async def test_closing_leaves_a_successors_socket_alone(tmp_path: Path) -> None:
    first = ControlServer(tmp_path, lambda: None)
    await first.start()
    (tmp_path / SOCKET_NAME).unlink()
    async with ControlServer(tmp_path, lambda: None):
        await first.close()
        await first.close()
        assert await told(tmp_path)


async def test_a_path_longer_than_a_socket_name_may_be_works(tmp_path: Path) -> None:
    data_dir = tmp_path / ("d" * 120)
    data_dir.mkdir()
    async with ControlServer(data_dir, lambda: None):
        assert await told(data_dir)
    assert list(data_dir.iterdir()) == []
    assert notify(data_dir) is False


async def test_a_reload_that_fails_is_told_by_its_kind_only(tmp_path: Path) -> None:
    def reload() -> None:
        raise RuntimeError("sk-canary-secret")

    async with ControlServer(tmp_path, reload):
        with pytest.raises(ControlError, match="RuntimeError") as caught:
            await told(tmp_path)
    assert "canary" not in str(caught.value)


async def test_a_gateway_that_does_not_answer_is_an_error_within_the_deadline(
    tmp_path: Path,
) -> None:
    never = asyncio.Event()

    async def reload() -> None:
        await never.wait()

    async with ControlServer(tmp_path, reload):
        with pytest.raises(ControlError, match="did not answer"):
            await told(tmp_path, 0.05)


@pytest.mark.parametrize("line", [b"", b"keys", b"KEYS\n", b"stop\n", b"\xff\n", b"x" * 100_000])
async def test_whatever_else_is_said_changes_nothing(tmp_path: Path, line: bytes) -> None:
    seen: list[int] = []
    async with ControlServer(tmp_path, lambda: seen.append(1)):
        try:
            answer = await say(tmp_path, line)
        except OSError:
            answer = b""  # it hung up on us
        assert not answer.startswith(b"ok")
        assert await told(tmp_path)
    assert seen == [1]


async def test_a_file_in_the_sockets_place_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / SOCKET_NAME).write_text("mine")
    with pytest.raises(ControlError, match="not a socket"):
        await ControlServer(tmp_path, lambda: None).start()
    assert (tmp_path / SOCKET_NAME).read_text() == "mine"


async def test_no_descriptor_is_left_behind(tmp_path: Path) -> None:
    async def once() -> int:
        async with ControlServer(tmp_path, lambda: None):
            await told(tmp_path)
        return len(os.listdir("/proc/self/fd"))

    await once()
    before = await once()
    for _ in range(5):
        assert await once() <= before
