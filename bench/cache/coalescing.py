"""A thousand equal calls at once: how many go upstream, and when the last caller has its answer.

    python bench/cache/coalescing.py

Every caller has a connection of its own, made before; all write the same question in one moment.
The upstream takes a second for it. Printed are the upstream's calls, and by how much the slowest
caller's answer came later than the upstream's second. A caller whose answer is not whole makes the
run fail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
import urllib.request
from pathlib import Path

from processes import KEY, MODEL, gateway_and_upstream

__all__ = ["main"]

UPSTREAM_SECONDS = 1.0
PIECES = 20


class Caller(asyncio.Protocol):
    """One connection that asks once and notes when its answer was whole."""

    def __init__(self, end: bytes) -> None:
        self.answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._end = end
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.endswith(self._end) and not self.answered.done():
            self.answered.set_result(time.perf_counter())

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(EOFError(self._received[-200:]))


def question(stream: bool) -> bytes:
    """The request that all of them send."""
    text = f"the same question, {'streamed' if stream else 'plain'}"
    asked = {"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": text}]}
    body = json.dumps(asked).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def burst(port: int, callers: int, stream: bool) -> float:
    """Seconds from the first request to the last answer."""
    loop = asyncio.get_running_loop()
    end = b"data: [DONE]\n\n\r\n0\r\n\r\n" if stream else b"}\n"
    crowd: list[Caller] = []
    for _ in range(callers):
        _, caller = await loop.create_connection(lambda: Caller(end), "127.0.0.1", port)
        crowd.append(caller)
    request = question(stream)
    began = time.perf_counter()
    for caller in crowd:
        caller.transport.write(request)
    answered = await asyncio.wait_for(asyncio.gather(*(one.answered for one in crowd)), 60)
    for caller in crowd:
        caller.transport.close()
    return max(answered) - began


def upstream_calls(port: int) -> float:
    """What the gateway counted as misses so far."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics")
    request.add_header("authorization", f"Bearer {KEY}-admin")
    with urllib.request.urlopen(request, timeout=30) as reply:
        lines = reply.read().decode().splitlines()
    name = 'sentinel_cache_requests_total{verdict="miss"} '
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def main() -> int:
    """Run both bursts and print what became of them."""
    parser = argparse.ArgumentParser(description="A thousand equal calls at once.")
    parser.add_argument("--callers", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--serve", default="sentinel", help="the command (default: %(default)s)")
    options = parser.parse_args()
    script = f"ttft_ms={UPSTREAM_SECONDS * 1000:.0f} chunks={PIECES}"
    with (
        tempfile.TemporaryDirectory(prefix="bench-coalescing-") as name,
        gateway_and_upstream(options.serve, Path(name), script) as ports,
    ):
        for stream in (False, True):
            before = upstream_calls(ports.admin)
            seconds = asyncio.run(burst(ports.gateway, options.callers, stream))
            calls = upstream_calls(ports.admin) - before
            print(
                f"{options.callers} equal calls at once, {'streamed' if stream else 'plain'}: "
                f"{calls:.0f} upstream call, the last answer "
                f"{seconds - UPSTREAM_SECONDS:.3f} s after the upstream's"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
