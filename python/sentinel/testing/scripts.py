"""What one call to the scripted upstream shall do: `Behaviour`, its faults, its text form.

A behaviour is written as blank-separated words, `chunks=20 gap_ms=5 fail=cut_mid_event at=3`, and
reaches the upstream in one of two ways: inside the prompt between double brackets, so that it
survives any gateway, or queued by the test with `ScriptedUpstream.script`. Both use this one form.

`FAULTS` is the table of everything that can go wrong, with a sentence each. Halts are made of an
action and a phase (`cut_mid_head`, `stall_before_done`); the others are names of their own.
Every fault means something for plain and streamed replies alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

__all__ = [
    "ACTIONS",
    "FAULTS",
    "PHASES",
    "Behaviour",
    "ScriptError",
    "find_directive",
    "strip_directives",
]

ACTIONS: dict[str, str] = {
    "cut": "closes the connection",
    "reset": "resets the connection",
    "stall": "falls silent until the client leaves",
}

PHASES: dict[str, str] = {
    "before_head": "before the first byte of the reply",
    "mid_head": "in the middle of the response head",
    "after_head": "after the head, before any body byte",
    "mid_body": "in the middle of the body (streamed: like mid_event)",
    "mid_event": "inside an event, after `at` whole chunks",
    "between_events": "between two events, after `at` chunks",
    "before_done": "when only the terminal event is missing (plain: one byte before the end)",
}

_HALTS = {
    f"{action}_{phase}": f"{does} {when}"
    for action, does in ACTIONS.items()
    for phase, when in PHASES.items()
}

_CONTENT_FAULTS: dict[str, str] = {
    "html": "200 with an HTML page",
    "invalid_json": "200 with a body (streamed: an event) that is not JSON",
    "not_an_object": "200 with a JSON array (streamed: an event that is one)",
    "empty_body": "200 with nothing in it",
    "error_object": "200 with an error object as the whole JSON body, streamed or not",
    "error_event": "an error event after `at` chunks, then a clean end (plain: error_object)",
    "echo_credential": "an error (401 or `status`) whose message repeats the credential received",
    "echo_credential_event": "like error_event, repeating the credential received",
    "echo_credential_header": "a good reply with the credential received in x-debug-credential",
    "no_terminal": "the stream ends cleanly after `at` chunks: no finish, no terminal event",
    "no_done": "the stream ends cleanly without its terminal event",
    "bad_utf8": "bytes that are not UTF-8 inside the content",
    "nul_bytes": "a raw NUL byte inside the content",
    "endless": "content without end (plain: white space without end)",
    "giant_line": "`giant_bytes` bytes without a line end, made as they are sent",
    "redirect": "302 to `location`",
}

_FRAMING_FAULTS: dict[str, str] = {
    "content_length_short": "Content-Length half of what is sent",
    "content_length_long": "Content-Length larger than what is sent, then the connection closes",
    "content_length_twice": "two Content-Length headers that disagree",
    "content_length_garbage": "a Content-Length that is no number",
    "length_and_chunked": "both Content-Length and Transfer-Encoding",
    "bad_chunk_size": "a chunk size that is not hexadecimal",
    "chunk_overflow": "a chunk size larger than 64 bits",
    "chunk_unclosed": "chunk data not followed by CRLF",
    "chunk_extensions": "legal chunk extensions",
    "trailers": "legal trailers after the last chunk",
    "http10": "HTTP/1.0, the body ends with the connection",
    "extra_response": "a second, unasked response behind the first",
}

_HEAD_FAULTS: dict[str, str] = {
    "bad_status_line": "a status line that is not one",
    "garbage": "random bytes instead of HTTP",
    "header_nul": "a NUL byte in a header value",
    "header_bare_cr": "a bare CR in a header value",
    "header_no_colon": "a header line without a colon",
    "header_folded": "a folded header line",
    "header_huge": "a header of one megabyte",
    "header_many": "10,000 headers",
    "bare_lf": "a head whose lines end in LF alone",
    "informational_100": "100 Continue before the head",
    "informational_103": "103 Early Hints before the head",
    "informational_flood": "1,000 times 103 before the head",
    "switching_101": "101 Switching Protocols instead of an answer",
}

_PACE_FAULTS: dict[str, str] = {
    "trickle_head": "the head byte by byte, `trickle_ms` apart",
    "trickle_body": "the body byte by byte, `trickle_ms` apart",
    "gzip": "a gzip body, asked for or not",
    "gzip_lie": "Content-Encoding: gzip over a plain body",
    "connection_close": "Connection: close, and the connection does close",
    "close_idle": "closes the keep-alive connection right behind the reply, unannounced",
}

FAULTS: dict[str, str] = {
    **_HALTS,
    **_CONTENT_FAULTS,
    **_FRAMING_FAULTS,
    **_HEAD_FAULTS,
    **_PACE_FAULTS,
}
"""Every name that `fail=` takes, with what it does."""

_LINE_ENDS = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}
_DIRECTIVE = re.compile(rb"\[\[([^\[\]\"\\]{1,1000})\]\]")
_TEXT_DIRECTIVE = re.compile(r"\s*\[\[([^\[\]\"\\]{1,1000})\]\]")


class ScriptError(ValueError):
    """A script names something that does not exist; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What one call does. The default is a good reply at once. Times are in milliseconds."""

    status: int = 200
    """Status; 400 and above send the error body the endpoint's protocol has for it."""
    retry_after: str = ""
    """Value of Retry-After; a 429 sends `1` when it is empty."""
    fail: str = ""
    """One name of `FAULTS`."""
    at: int = -1
    """How many content chunks pass before the fault strikes; -1 is half of them.
    More than there are means all of them."""

    head_ms: float = 0
    """Wait before the head."""
    ttft_ms: float = 0
    """Wait between head and first event; a plain reply waits that long before its head."""
    gap_ms: float = 0
    """Wait between content chunks, kept on a schedule so that it does not drift."""
    trickle_ms: float = 1
    """Wait between single bytes in the trickle faults."""
    hold: int = -1
    """Wait for `ScriptedUpstream.release` when so many content chunks of a stream are sent; a plain
    reply waits before its head, whatever the number. -1 does not wait."""

    text: str = ""
    """The answer, word for word; without it the answer repeats the prompt."""
    chunks: int = 0
    """The answer has so many pieces: chunks of a stream, and completion tokens."""
    size: int = 0
    """The answer's text has so many bytes."""
    tools: int = 0
    """Answer with so many tool calls, if the request offers tools."""
    refusal: bool = False
    """Answer with a refusal."""
    finish: str = ""
    """Finish reason instead of the natural one."""
    novelty: bool = False
    """Messages and deltas of chats carry a member that no reader knows yet."""

    usage: bool = True
    """False leaves usage out, streamed or not."""
    prompt_tokens: int = -1
    """Prompt tokens reported; -1 counts words."""
    cached_tokens: int = 0
    """Prompt tokens reported as read from the provider's cache."""
    reasoning_tokens: int = 0
    """Reasoning tokens, reported and added to the completion's."""

    split: int = 0
    """Send every event in two chunks, cut after this many bytes."""
    batch: int = 1
    """Send so many events in one chunk."""
    eol: str = "lf"
    """Line ends of the stream: lf, crlf or cr."""
    comments: bool = False
    """A comment line before every content event."""
    pings: bool = False
    """A ping event before every content event."""
    bom: bool = False
    """A byte order mark before the first event."""

    giant_bytes: int = 100_000_000
    """Size of giant_line."""
    location: str = "http://redirected.invalid/v1"
    """Where the redirect leads."""

    def __post_init__(self) -> None:
        if self.fail and self.fail not in FAULTS:
            raise ScriptError(f"unknown fault {self.fail!r}")
        if self.eol not in _LINE_ENDS:
            raise ScriptError(f"eol is lf, crlf or cr, not {self.eol!r}")
        if self.batch < 1:
            raise ScriptError("batch is at least 1")

    @classmethod
    def parse(cls, text: str) -> Behaviour:
        """Read `key=value` words; a flag may stand alone. ScriptError names what is wrong."""
        values: dict[str, object] = {}
        for word in text.split():
            key, equals, value = word.partition("=")
            kind = _KINDS.get(key)
            if kind is None or (not equals and kind != "bool"):
                raise ScriptError(f"unknown word {word!r}")
            values[key] = _convert(kind, key, value if equals else "1")
        return cls(**values)  # type: ignore[arg-type]  # checked word by word against the fields

    @property
    def action(self) -> str:
        """`cut`, `reset`, `stall` or nothing."""
        return self.fail.partition("_")[0] if self.fail in _HALTS else ""

    @property
    def phase(self) -> str:
        """The phase in which the halt strikes, or nothing."""
        return self.fail.partition("_")[2] if self.fail in _HALTS else ""

    @property
    def line_end(self) -> str:
        return _LINE_ENDS[self.eol]


_KINDS: dict[str, str] = {field.name: str(field.type) for field in fields(Behaviour)}


def _convert(kind: str, key: str, value: str) -> object:
    try:
        if kind == "bool":
            return {"1": True, "true": True, "0": False, "false": False}[value]
        return {"int": int, "float": float, "str": str}[kind](value)
    except (KeyError, ValueError) as error:
        raise ScriptError(f"{key} cannot be {value!r}") from error


def _is_directive(text: str) -> bool:
    return "=" in text or all(_KINDS.get(word) == "bool" for word in text.split())


def find_directive(body: bytes) -> Behaviour | None:
    """The last directive in a request body, None without one.

    Double brackets without `key=value` are the user's own text and are left alone; a directive
    with a word that does not exist raises ScriptError, so that a test never passes by a typo.
    """
    if b"[[" not in body:
        return None
    found = [match.decode("utf-8", "replace") for match in _DIRECTIVE.findall(body)]
    directives = [text for text in found if _is_directive(text)]
    return Behaviour.parse(directives[-1]) if directives else None


def strip_directives(prompt: str) -> str:
    """A prompt without its directives: what the answer repeats and what the token count sees."""
    return _TEXT_DIRECTIVE.sub(
        lambda match: "" if _is_directive(match[1]) else match[0], prompt
    ).strip()
