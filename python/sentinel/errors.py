"""Every exception that Sentinel raises on purpose.

All of them are `SentinelError`; a caller who catches that has caught every expected failure.
Anything else that escapes is a defect. Messages never repeat a secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "AccountExists",
    "AccountsError",
    "CircuitOpenError",
    "ConfigError",
    "ControlError",
    "EmbedderBusy",
    "EmbedderError",
    "EmbedderFailed",
    "EmbedderUnavailable",
    "Fault",
    "GatewayError",
    "InvalidAccount",
    "SentinelError",
    "StreamCut",
    "StreamError",
    "StreamFailed",
    "StreamTooLarge",
    "TextTooLong",
    "UnknownAccount",
    "UnknownKey",
    "UsageError",
]


class SentinelError(Exception):
    """The root of every expected failure."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a configuration: where it stands, what is wrong with it.

    `path` is as `routes.x.targets[0].upstream`, empty for the whole document; `line` counts from 1.
    """

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        line = f" (line {self.line})" if self.line is not None else ""
        return f"{where}{self.message}{line}"


class ConfigError(SentinelError, ValueError):
    """A configuration that cannot be used, with every fault found in it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: list[Fault] = list(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class AccountsError(SentinelError):
    """The key store cannot do what was asked."""


class UnknownAccount(AccountsError, LookupError):
    """No account has this id."""


class AccountExists(AccountsError):
    """The account id or its external id is taken."""


class InvalidAccount(AccountsError, ValueError):
    """An account, key name, scope or model pattern is not well formed."""


class UnknownKey(AccountsError, LookupError):
    """No issued key has this id."""


class ControlError(SentinelError):
    """A running gateway was reached but did not do what was asked."""


class UsageError(SentinelError):
    """The usage database is missing, unreadable or of another version."""


class CircuitOpenError(SentinelError):
    """A circuit breaker did not let a call pass.

    `retry_after_seconds` is when it may let one pass again, None if it is forced open.
    """

    def __init__(self, name: str = "", retry_after_seconds: float | None = None) -> None:
        self.name = name
        self.retry_after_seconds = retry_after_seconds
        super().__init__(name, retry_after_seconds)

    def __str__(self) -> str:
        which = f"the circuit breaker {self.name!r}" if self.name else "the circuit breaker"
        if self.retry_after_seconds is None:
            return f"{which} is forced open"
        return f"{which} is open: try again in {self.retry_after_seconds:g} s"


class GatewayError(SentinelError, RuntimeError):
    """The gateway cannot start, is not running, or is used where it cannot work."""


class StreamError(SentinelError):
    """A stream of events cannot be read further."""


class StreamTooLarge(StreamError, ValueError):
    """An event or an answer is larger than the bound that the message names."""


class StreamFailed(StreamError):
    """The provider reported an error inside its stream; the message is the provider's."""


class StreamCut(StreamError, EOFError):
    """The stream ended before its last event."""


class EmbedderError(SentinelError):
    """A text was not embedded."""


class EmbedderUnavailable(EmbedderError, ImportError):
    """What an embedder needs is not installed; the message names the extra."""


class EmbedderBusy(EmbedderError):
    """Too many texts wait already, or no vector was there in time."""


class EmbedderFailed(EmbedderError):
    """An embeddings endpoint was not reached, refused, or answered something else."""


class TextTooLong(EmbedderError, ValueError):
    """A text has more tokens than the embedder's window; a vector of its start would mislead."""
