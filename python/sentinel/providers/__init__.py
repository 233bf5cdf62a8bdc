"""Providers written in Python: what serves the targets of an upstream of kind `python`.

class Echo:
    async def send(self, call: ProviderCall) -> ProviderReply:
        return ProviderReply.json({"object": "chat.completion", ...})

gateway = Gateway(settings, provider=Echo())
"""

from __future__ import annotations

from sentinel.providers.provider import Provider, ProviderCall, ProviderReply

__all__ = ["Provider", "ProviderCall", "ProviderReply"]
