"""What the scripted model says: deterministic, so that two equal requests get equal answers.

An `Ask` is what an endpoint read from its request, an `Answer` what every endpoint renders in its
own words. The rule that makes accounting exact: an answer is a list of pieces, one piece is one
chunk of a stream and one completion token, and prompt tokens are words. Nothing here is random and
nothing reads a clock.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from typing import Any

from sentinel.testing.scripts import Behaviour, strip_directives

__all__ = [
    "CREATED",
    "Answer",
    "Ask",
    "Json",
    "Tool",
    "ToolCall",
    "compact",
    "compose",
    "stable_id",
]

Json = dict[str, Any]

CREATED = 1_754_000_000
"""Every answer was made in this second, whenever it is asked for."""

_PROSE = (
    "A gateway stands between an application and its model → it counts what passes, keeps what"
    " may be kept, and says “no” early when saying “yes” would be naïve. 🙂 Each word you read here"
    " is one token, which makes the bill easy to check by hand."
)
_FILLER = "plain words of known length fill this answer so that its size is exact "
_REFUSAL = "The scripted upstream was told to refuse this request."
_ECHOED_WORDS = 40
_FRAGMENT = 8


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the client offers, with the JSON schema of its arguments."""

    name: str
    schema: Json


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool; its arguments are JSON text in fragments."""

    id: str
    name: str
    pieces: tuple[str, ...]

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request in the terms all endpoints share."""

    model: str
    prompt: str = ""
    prompt_words: int = 0
    max_tokens: int | None = None
    n: int = 1
    tools: tuple[Tool, ...] = ()
    schema: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to say, before an endpoint puts it in its own shape."""

    key: str
    pieces: tuple[str, ...]
    refusal: bool
    novelty: bool
    tool_calls: tuple[ToolCall, ...]
    finish: str
    n: int
    prompt_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    report_usage: bool

    @property
    def completion_tokens(self) -> int:
        """Tokens of all choices, reasoning included."""
        said = sum(len(self.choice(index)) for index in range(self.n))
        called = self.n * sum(len(call.pieces) for call in self.tool_calls)
        return said + called + self.reasoning_tokens

    @property
    def chunk_count(self) -> int:
        """How many content chunks a stream of this answer has."""
        return self.completion_tokens - self.reasoning_tokens

    def choice(self, index: int) -> tuple[str, ...]:
        """The pieces of one of the `n` choices; later choices differ by their first word."""
        if index == 0 or not self.pieces:
            return self.pieces
        return (f"({index + 1}) {self.pieces[0]}", *self.pieces[1:])


def compose(ask: Ask, behaviour: Behaviour) -> Answer:
    """Decide what is said: script first, then tools, structure, and an echo of the prompt."""
    key = hashlib.sha256(f"{ask.model}\0{ask.prompt}".encode()).hexdigest()
    calls = _tool_calls(ask.tools, behaviour.tools, key)
    pieces = () if calls else _pieces(ask, behaviour)
    scripted = behaviour.text or behaviour.chunks or behaviour.size
    finish = "tool_calls" if calls else "stop"
    if not scripted and ask.max_tokens is not None and len(pieces) > ask.max_tokens:
        pieces, finish = pieces[: ask.max_tokens], "length"
    return Answer(
        key=key,
        pieces=pieces,
        refusal=behaviour.refusal,
        novelty=behaviour.novelty,
        tool_calls=calls,
        finish=behaviour.finish or finish,
        n=ask.n,
        prompt_tokens=ask.prompt_words if behaviour.prompt_tokens < 0 else behaviour.prompt_tokens,
        cached_tokens=behaviour.cached_tokens,
        reasoning_tokens=behaviour.reasoning_tokens,
        report_usage=behaviour.usage,
    )


def stable_id(prefix: str, key: str, salt: str = "") -> str:
    """An id shaped like the provider's, the same for the same request."""
    return prefix + hashlib.sha256(f"{prefix}{key}{salt}".encode()).hexdigest()[:24]


def compact(value: object) -> str:
    """JSON on one line, characters beyond ASCII as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _pieces(ask: Ask, behaviour: Behaviour) -> tuple[str, ...]:
    if behaviour.refusal:
        return _words(_REFUSAL.split())
    if behaviour.size:
        return _sized(behaviour.size, behaviour.chunks)
    if behaviour.text:
        words = _words(behaviour.text.split(" "))
        return _regroup(behaviour.text, behaviour.chunks) if behaviour.chunks else words
    if behaviour.chunks:
        return _words(list(islice(cycle(_PROSE.split()), behaviour.chunks)))
    if ask.schema is not None:
        return _fragments(compact(_example(ask.schema, ask.schema, "answer")))
    return _words(_echo(ask.prompt))


def _echo(prompt: str) -> list[str]:
    words = strip_directives(prompt).split()[:_ECHOED_WORDS]
    return ["You", "said:", *words] if words else ["You", "said", "nothing."]


def _words(words: list[str]) -> tuple[str, ...]:
    """Pieces as models stream them: the blank leads the word."""
    return tuple(word if index == 0 else f" {word}" for index, word in enumerate(words))


def _sized(size: int, chunks: int) -> tuple[str, ...]:
    text = (_FILLER * (size // len(_FILLER) + 1))[:size]
    return _regroup(text, chunks) if chunks else _words(text.split(" "))


def _regroup(text: str, chunks: int) -> tuple[str, ...]:
    """Exactly `chunks` pieces of nearly equal length; some are empty if the text is shorter."""
    cuts = [len(text) * index // chunks for index in range(chunks + 1)]
    return tuple(text[start:stop] for start, stop in pairwise(cuts))


def _fragments(text: str) -> tuple[str, ...]:
    return tuple(text[start : start + _FRAGMENT] for start in range(0, len(text), _FRAGMENT))


def _tool_calls(tools: tuple[Tool, ...], wanted: int, key: str) -> tuple[ToolCall, ...]:
    if not tools:
        return ()
    calls: list[ToolCall] = []
    for index in range(wanted):
        tool = tools[index % len(tools)]
        arguments = compact(_example(tool.schema, tool.schema, tool.name))
        calls.append(
            ToolCall(stable_id("call_", key, str(index)), tool.name, _fragments(arguments))
        )
    return tuple(calls)


def _example(schema: Json, root: Json, name: str) -> Any:
    """A value that satisfies a JSON schema of the kind structured output allows."""
    if "$ref" in schema:
        target: Any = root
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target[part]
        return _example(target, root, name)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return _example(schema[union][0], root, name)
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        properties = schema.get("properties", {})
        return {key: _example(value, root, key) for key, value in properties.items()}
    if kind == "array":
        return [_example(schema.get("items", {"type": "string"}), root, name) for _ in range(2)]
    plain: Json = {"string": f"scripted {name}", "integer": 42, "number": 1.5, "boolean": True}
    return plain.get(kind)
