"""What a server tells of its client beside ASGI's messages.

Our own server tells of the client's leaving by a call, any other by a message. It also hands over a
body that is here already, and takes a head as the engine wrote it.
"""

from __future__ import annotations

from starlette.types import Receive, Scope

from sentinel.gateway import Answer, AsyncBridge

__all__ = ["BODY", "DISCONNECT", "expect_answer", "peer_of"]

# The ASGI extension of our own server: `register` takes what to call when this client leaves.
DISCONNECT = "sentinel.disconnect"
# Its extension for a request that comes to the engine with nothing between, its body here already:
# `take` gives the body, once, and the reply's headers may be the engine's own ReplyHeaders.
BODY = "sentinel.body"


def expect_answer(bridge: AsyncBridge, id: int, scope: Scope, receive: Receive) -> Answer:
    """The answer of a submitted exchange, which ends when the client of this request leaves."""
    told = scope.get("extensions", {}).get(DISCONNECT)
    if not told:
        return bridge.expect(id, receive)
    answer = bridge.expect(id, None)
    told["register"](answer.leave)
    return answer


def peer_of(scope: Scope) -> str:
    """The address the connection comes from, empty where there is none (a Unix socket)."""
    client = scope.get("client")
    return client[0] if client else ""
