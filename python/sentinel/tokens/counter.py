"""`TokenCounter`: tokens of texts and messages, as a model's provider counts them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sentinel import _core
from sentinel.tokens.encodings import shipped_encodings

__all__ = ["TokenCounter"]

_COUNTED = ("role", "content", "name")


class TokenCounter:
    """Counts with one model's encoding; immutable, for any thread. Make it with `for_model`.

    The ids are tiktoken's `encode_ordinary` on every text: what looks like a special token is
    ordinary text. Texts of 16 KiB and more are worked on without the interpreter lock. The work is
    linear in the text, except that one unbroken run of n characters costs n log n.
    """

    def __init__(self, model: _core.ModelChoice) -> None:
        self._model = model
        self._encoding = shipped_encodings.get(model.encoding)

    @classmethod
    def for_model(cls, name: str) -> TokenCounter:
        """The counter of a model, fine-tuned ones (`ft:...`) included.

        A model that no rule covers is counted with o200k_base, and `estimated` says so.
        """
        return cls(_core.choose_encoding(_string(name, "name")))

    @property
    def encoding(self) -> str:
        """`o200k_base` or `cl100k_base`."""
        return self._model.encoding.name

    @property
    def estimated(self) -> bool:
        """Whether the model is unknown, so that its provider may count otherwise."""
        return self._model.estimated

    def __repr__(self) -> str:
        return f"TokenCounter(encoding={self.encoding!r}, estimated={self.estimated})"

    def count(self, text: str) -> int:
        """The number of tokens, `len(encode(text))`, without making them."""
        return self._encoding.count(text)

    def count_till_limit(self, text: str, limit: int) -> int | None:
        """The number of tokens, or None if it is above `limit`.

        Reads not much more of the text than `limit` tokens. 0 is a count too: compare with None.
        """
        return self._encoding.count_till_limit(text, limit)

    def encode(self, text: str) -> list[int]:
        """The token ids."""
        return self._encoding.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; bytes that are not UTF-8 together become U+FFFD.

        ValueError if an id is no token of the encoding; special tokens are none.
        """
        return self._encoding.decode(ids).decode("utf-8", "replace")

    def count_messages(self, messages: Iterable[Mapping[str, Any]]) -> int:
        """Prompt tokens of chat messages: their texts and the frame the provider puts around each.

        A message has `role`, `content` (a string, None, or a list of text parts) and perhaps
        `name`. What else is set (tools, images, audio) costs tokens that cannot be counted here:
        it is a ValueError that names it, so that no count is silently too low. Every message costs
        3 tokens more than its texts, a name 1, the reply's start 3.
        """
        if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
            raise TypeError(f"messages must be a list, not {type(messages).__name__}")
        return self._encoding.count_messages(self._model, _messages(messages))


def _string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be str, not {type(value).__name__}")
    return value


def _messages(messages: Iterable[object]) -> Iterator[tuple[str, str, str | None]]:
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, Mapping):
            raise TypeError(f"{where} must be a mapping, not {type(message).__name__}")
        if "role" not in message:
            raise ValueError(f"{where} has no role")
        for member, value in message.items():
            if member not in _COUNTED and value:
                raise ValueError(f"{where}.{member}: only role, content and name can be counted")
        name = message.get("name")
        yield (
            _string(message["role"], f"{where}.role"),
            _content(message.get("content"), f"{where}.content"),
            None if name is None else _string(name, f"{where}.name"),
        )


def _content(content: object, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping | bytes) or not isinstance(content, Sequence):
        raise TypeError(
            f"{where} must be str, None or a list of text parts, not {type(content).__name__}"
        )
    return "".join(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(part: object, where: str) -> str:
    if not isinstance(part, Mapping):
        raise TypeError(f"{where} must be a mapping, not {type(part).__name__}")
    if part.get("type") != "text":
        raise ValueError(f"{where}: only text parts can be counted, not {part.get('type')!r}")
    return _string(part.get("text"), f"{where}.text")
