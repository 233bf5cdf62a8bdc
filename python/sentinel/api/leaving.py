"""Who tells that a client has left: our own server by a call, any other by an ASGI message."""

from __future__ import annotations

from starlette.types import Receive, Scope

from sentinel.gateway import Answer, AsyncBridge

__all__ = ["DISCONNECT", "expect_answer"]

# The ASGI extension of our own server: `register` takes what to call when this client leaves.
DISCONNECT = "sentinel.disconnect"


def expect_answer(bridge: AsyncBridge, id: int, scope: Scope, receive: Receive) -> Answer:
    """The answer of a submitted exchange, which ends when the client of this request leaves."""
    told = scope.get("extensions", {}).get(DISCONNECT)
    if not told:
        return bridge.expect(id, receive)
    answer = bridge.expect(id, None)
    told["register"](answer.leave)
    return answer
