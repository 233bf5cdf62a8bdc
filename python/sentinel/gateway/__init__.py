"""The gateway: builds and closes everything once. Knows no web framework."""

from __future__ import annotations

from sentinel._core import Endpoint, ErrorCode
from sentinel.gateway.bridge import Answer, AsyncBridge, Event, Listener
from sentinel.gateway.gateway import Gateway
from sentinel.gateway.head import header_pairs
from sentinel.gateway.keys import Keys

__all__ = [
    "Answer",
    "AsyncBridge",
    "Endpoint",
    "ErrorCode",
    "Event",
    "Gateway",
    "Keys",
    "Listener",
    "header_pairs",
]
