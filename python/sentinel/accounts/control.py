"""The control socket: how a command tells a running gateway that keys have changed.

`<data_dir>/control.sock`, mode 0600, one line in (`keys`), one line out (`ok`, or `error` and the
kind of failure). Nothing secret passes: the line only says "look again", the gateway reads the
store itself. The answer comes after the change is in force, so a revoked key is dead when
`sentinel keys revoke` returns.

A socket's name may be 107 bytes long; a longer one is reached through the directory's descriptor.
A file left by a killed gateway is told from a living one by trying to connect.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import socket
import stat
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from sentinel.errors import ControlError

__all__ = ["SOCKET_NAME", "ControlServer", "notify"]

SOCKET_NAME: Final = "control.sock"
_MAX_SOCKET_PATH: Final = 107
_IDLE_SECONDS: Final = 5.0
_MAX_LINE: Final = 64

Reload = Callable[[], Awaitable[None] | None]


class ControlServer:
    """Answers on the control socket of `data_dir` while it is open.

    `reload` brings the engine's keys in step with the store; calls never overlap.
    Start and close it on the event loop it shall live on, or use it as `async with`.
    """

    def __init__(self, data_dir: Path, reload: Reload) -> None:
        self._data_dir = data_dir
        self._reload = reload
        self._turn = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._callers: set[asyncio.Task[None]] = set()
        self._bound: tuple[int, int] | None = None

    async def start(self) -> None:
        """Listen; ControlError when another gateway does already, or the socket cannot be made."""
        listener = _listen(self._data_dir)
        self._bound = _identity(self._data_dir)
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=_MAX_LINE)

    async def close(self) -> None:
        """Stop listening and remove the socket, if it is still ours. Harmless when done twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for caller in self._callers:
            caller.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)
        await server.wait_closed()
        if _identity(self._data_dir) == self._bound:
            with suppress(OSError):
                (self._data_dir / SOCKET_NAME).unlink()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._callers.add(caller)
        caller.add_done_callback(self._callers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                line = await reader.readline()
            writer.write(f"{await self._answer(line)}\n".encode())
            async with asyncio.timeout(_IDLE_SECONDS):
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            return  # the caller is gone, silent, or not one of ours
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> str:
        if line != b"keys\n":
            return "error unknown command"
        try:
            async with self._turn:
                pending = self._reload()
                if inspect.isawaitable(pending):
                    await pending
        except Exception as error:
            return f"error {type(error).__name__}"
        return "ok"


def notify(data_dir: Path, timeout_seconds: float = 5.0) -> bool:
    """Tell the gateway running on `data_dir` that keys have changed, and wait until it knows.

    False when none runs there. ControlError when one does but fails, or does not answer within
    `timeout_seconds` in all.
    """
    deadline = time.monotonic() + timeout_seconds
    with closing(_socket()) as client:
        try:
            client.settimeout(timeout_seconds)
            with _address(data_dir) as address:
                client.connect(address)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except OSError as error:
            raise ControlError(f"the running gateway cannot be reached: {error}") from None
        try:
            client.sendall(b"keys\n")
            answer = _read_line(client, deadline)
        except OSError as error:
            raise ControlError(f"the running gateway did not answer: {error}") from None
    if answer != b"ok\n":
        told = answer.decode("ascii", "replace").strip() or "it closed the connection"
        raise ControlError(f"the running gateway could not take the change: {told}")
    return True


def _read_line(client: socket.socket, deadline: float) -> bytes:
    answer = b""
    while not answer.endswith(b"\n") and len(answer) < _MAX_LINE * 2:
        client.settimeout(max(deadline - time.monotonic(), 0.001))
        piece = client.recv(_MAX_LINE)
        if not piece:
            break
        answer += piece
    return answer


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)


@contextmanager
def _address(data_dir: Path) -> Iterator[str]:
    """The socket's name, short enough for the kernel for as long as the block runs."""
    path = str(data_dir / SOCKET_NAME)
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        yield path
        return
    descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)


def _listen(data_dir: Path) -> socket.socket:
    listener = _socket()
    try:
        os.fchmod(listener.fileno(), 0o600)  # before it has a name: there is no moment in between
        with _address(data_dir) as address:
            _bind(listener, address, data_dir)
        listener.listen()
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ControlError(f"control socket in {data_dir}: {error}") from None
    except ControlError:
        listener.close()
        raise
    return listener


def _bind(listener: socket.socket, address: str, data_dir: Path) -> None:
    try:
        listener.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        if _alive(address):
            raise ControlError(f"another gateway runs on {data_dir}") from None
        (data_dir / SOCKET_NAME).unlink()
        listener.bind(address)


def _alive(address: str) -> bool:
    if not stat.S_ISSOCK(os.stat(address).st_mode):
        raise ControlError(f"{SOCKET_NAME} is not a socket: remove it")
    with closing(_socket()) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            return False
        return True


def _identity(data_dir: Path) -> tuple[int, int] | None:
    try:
        found = (data_dir / SOCKET_NAME).lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
