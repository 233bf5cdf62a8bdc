"""Runs an injected provider's calls as tasks and carries their bytes back, under credit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

from sentinel import _core
from sentinel.providers import Provider, ProviderCall, ProviderReply

__all__ = ["ProviderPort"]

# (kind, call_id, upstream, endpoint, model, request_id, stream, body)
Work = tuple[str, int, str, str, str, str, bool, bytes]


class ProviderPort:
    """One per bridge. Without a provider every call fails, and says why."""

    def __init__(self, core: _core.Bridge, provider: Provider | None) -> None:
        self._core = core
        self._provider = provider
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._credit: dict[int, asyncio.Event] = {}

    def serve(self, work: Iterable[Work]) -> None:
        """Begin, resume and withdraw calls, as the engine says."""
        for kind, call_id, *call in work:
            if kind == "serve":
                self._start(call_id, ProviderCall(*call))  # type: ignore[arg-type]
            elif kind == "resume" and call_id in self._credit:
                self._credit[call_id].set()
            elif kind == "withdraw" and call_id in self._tasks:
                self._tasks[call_id].cancel()

    def _start(self, call_id: int, call: ProviderCall) -> None:
        def ended(_: asyncio.Task[None]) -> None:
            self._tasks.pop(call_id, None)

        task = asyncio.get_running_loop().create_task(self._run(call_id, call))
        self._tasks[call_id] = task
        task.add_done_callback(ended)

    def close(self) -> None:
        """Cancel what runs."""
        for task in self._tasks.values():
            task.cancel()

    async def _run(self, call_id: int, call: ProviderCall) -> None:
        if self._provider is None:
            self._core.answer_failure(call_id, "no provider was given to the gateway")
            return
        self._credit[call_id] = asyncio.Event()
        try:
            await self._carry(call_id, await self._provider.send(call))
            self._core.answer_end(call_id)
        except asyncio.CancelledError:
            self._core.answer_failure(call_id, "CancelledError")  # unheard if it was withdrawn
            raise
        except Exception as error:
            # Only the kind: a provider's message may hold anything, and the client reads this.
            self._core.answer_failure(call_id, type(error).__name__)
        finally:
            del self._credit[call_id]

    async def _carry(self, call_id: int, reply: ProviderReply) -> None:
        headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        self._core.answer_head(call_id, reply.status, headers)
        if isinstance(reply.body, bytes):
            self._core.answer_data(call_id, reply.body)
            return
        try:
            async for piece in reply.body:
                self._credit[call_id].clear()
                if not self._core.answer_data(call_id, piece):
                    await self._credit[call_id].wait()
        finally:
            # A call that is withdrawn while it waits for credit has not told the generator yet.
            if isinstance(reply.body, AsyncGenerator):
                await reply.body.aclose()
