"""What a request is, apart from how it was written: the key that the gateway's exact cache uses.

    key = request_digest(body)      # 32 bytes, from the raw JSON of a chat completion request

Standard library only.
"""

from __future__ import annotations

from sentinel._core import request_digest

__all__ = ["request_digest"]
