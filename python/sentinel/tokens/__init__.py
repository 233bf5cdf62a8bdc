"""Token counting as tiktoken counts, without its download: the vocabularies are in the package.

    counter = TokenCounter.for_model("gpt-4o")
    counter.count("Hello, world!")                    # 4
    counter.count_till_limit(document, 8_000)         # None if there are more

Standard library only.
"""

from __future__ import annotations

from sentinel.tokens.counter import TokenCounter

__all__ = ["TokenCounter"]
