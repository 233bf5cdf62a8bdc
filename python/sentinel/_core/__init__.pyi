"""
The C++ engine of Sentinel. Import it through the sentinel packages, not directly.
"""

from __future__ import annotations

import collections.abc
import typing

class ManualClock:
    """
    A clock that only moves when it is told to; for tests.
    """
    def __init__(self) -> None: ...
    def advance(self, seconds: typing.SupportsFloat | typing.SupportsIndex) -> None:
        """
        Moves the clock; engines that use it must be ticked to notice.
        """
    @property
    def now_seconds(self) -> float:
        """
        Seconds since the clock was made.
        """

class DrainState:
    """
    The steps of stopping, in order.

    Members:

      serving

      announced

      refusing

      aborting

      stopped
    """

    __members__: typing.ClassVar[dict[str, DrainState]]
    aborting: typing.ClassVar[DrainState]
    announced: typing.ClassVar[DrainState]
    refusing: typing.ClassVar[DrainState]
    serving: typing.ClassVar[DrainState]
    stopped: typing.ClassVar[DrainState]
    @typing.overload
    def __eq__(self, other: DrainState) -> bool: ...
    @typing.overload
    def __eq__(self, other: typing.Any) -> bool: ...
    def __getstate__(self) -> int: ...
    def __hash__(self) -> int: ...
    def __index__(self) -> int: ...
    def __init__(self, value: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __int__(self) -> int: ...
    @typing.overload
    def __ne__(self, other: DrainState) -> bool: ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> bool: ...
    def __repr__(self) -> str: ...
    def __setstate__(self, state: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __str__(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class Engine:
    """
    The engine of one process. ValueError where a document is wrong.
    """
    def __init__(
        self,
        *,
        snapshot: str,
        pepper: bytes,
        data_dir: str,
        usage_database: str = "",
        vocabulary_directory: str = "",
        loops: typing.SupportsInt | typing.SupportsIndex = 1,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        log_level: str = "info",
        log_sample: typing.SupportsFloat | typing.SupportsIndex = 1.0,
        log_descriptor: typing.SupportsInt | typing.SupportsIndex = 2,
        drain_delay_seconds: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        drain_timeout_seconds: typing.SupportsFloat | typing.SupportsIndex = 30.0,
        clock: ManualClock | None = None,
    ) -> None: ...
    def address_wait(self, peer: str, forwarded_for: str = "") -> int:
        """
        Takes one request of this address's limit: 0, or after how many seconds it may come again.
        """
    def begin_drain(self, with_delay: bool) -> None:
        """
        Starts the drain; with_delay=False skips the time in which it still serves.
        """
    def breakers(self) -> list[dict[str, typing.Any]]:
        """
        The circuit breaker of every target that has one.
        """
    def cache_stats(self) -> dict[str, int]:
        """
        Counts of the kept answers: entries, bytes, hits, misses, ...
        """
    def close(self) -> None:
        """
        Ends running exchanges, stores records, joins threads; idempotent.
        """
    def configure(self, snapshot: str) -> None:
        """
        Swaps the configuration, whole or not at all.
        """
    def erase_cached(self, by: str, value: str = "") -> int:
        """
        Forgets kept answers by key, pattern, tag or account, or all of them; how many went.
        """
    def flush(self, timeout_seconds: typing.SupportsFloat | typing.SupportsIndex = 5.0) -> bool:
        """
        Waits until all records so far are stored.
        """
    def force_breaker(self, target: str, mode: str) -> bool:
        """
        automatic, forced_open or forced_closed; False if there is no such target.
        """
    def ledger(self) -> dict[str, int]:
        """
        Counts of the usage ledger: accepted, committed, pending, rejected, ...
        """
    def log_event(
        self, level: str, event: str, fields: collections.abc.Sequence[tuple[str, str]]
    ) -> None:
        """
        Writes one JSON log line, redacted.
        """
    def metrics(self) -> str:
        """
        All metrics in Prometheus' text format 0.0.4.
        """
    def put_keys(self, document: str) -> None:
        """
        Adds or replaces keys by id.
        """
    def remove_key(self, key_id: str) -> bool:
        """
        Revokes a key; False if it is not known.
        """
    def replace_keys(self, document: str) -> None:
        """
        Puts these keys and revokes every other; running streams of those end.
        """
    def tick(self) -> None:
        """
        Tells the loops that the manual clock has moved.
        """
    @property
    def alive(self) -> bool:
        """
        False once closed, and in a forked child.
        """
    @property
    def drain_state(self) -> DrainState: ...
    @property
    def in_flight(self) -> int:
        """
        Exchanges that have begun and are not settled.
        """

class Endpoint:
    """
    The governed endpoints.

    Members:

      chat

      completions

      embeddings

      responses

      messages

      query

      models
    """

    __members__: typing.ClassVar[dict[str, Endpoint]]
    chat: typing.ClassVar[Endpoint]
    completions: typing.ClassVar[Endpoint]
    embeddings: typing.ClassVar[Endpoint]
    messages: typing.ClassVar[Endpoint]
    models: typing.ClassVar[Endpoint]
    query: typing.ClassVar[Endpoint]
    responses: typing.ClassVar[Endpoint]
    @typing.overload
    def __eq__(self, other: Endpoint) -> bool: ...
    @typing.overload
    def __eq__(self, other: typing.Any) -> bool: ...
    def __getstate__(self) -> int: ...
    def __hash__(self) -> int: ...
    def __index__(self) -> int: ...
    def __init__(self, value: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __int__(self) -> int: ...
    @typing.overload
    def __ne__(self, other: Endpoint) -> bool: ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> bool: ...
    def __repr__(self) -> str: ...
    def __setstate__(self, state: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __str__(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class ErrorCode:
    """
    The refusals a door makes itself.

    Members:

      request_timeout

      body_too_large

      invalid_json

      invalid_request
    """

    __members__: typing.ClassVar[dict[str, ErrorCode]]
    body_too_large: typing.ClassVar[ErrorCode]
    invalid_json: typing.ClassVar[ErrorCode]
    invalid_request: typing.ClassVar[ErrorCode]
    request_timeout: typing.ClassVar[ErrorCode]
    @typing.overload
    def __eq__(self, other: ErrorCode) -> bool: ...
    @typing.overload
    def __eq__(self, other: typing.Any) -> bool: ...
    def __getstate__(self) -> int: ...
    def __hash__(self) -> int: ...
    def __index__(self) -> int: ...
    def __init__(self, value: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __int__(self) -> int: ...
    @typing.overload
    def __ne__(self, other: ErrorCode) -> bool: ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> bool: ...
    def __repr__(self) -> str: ...
    def __setstate__(self, state: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __str__(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class Bridge:
    """
    The engine's side of one asyncio loop; use it on that loop's thread.
    """
    def __init__(self, engine: Engine, serves_provider: bool = False) -> None: ...
    def answer_data(self, call_id: typing.SupportsInt | typing.SupportsIndex, data: bytes) -> bool:
        """
        False: wait for `resume` before handing over more.
        """
    def answer_end(self, call_id: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def answer_failure(
        self, call_id: typing.SupportsInt | typing.SupportsIndex, message: str
    ) -> None: ...
    def answer_head(
        self,
        call_id: typing.SupportsInt | typing.SupportsIndex,
        status: typing.SupportsInt | typing.SupportsIndex,
        headers: collections.abc.Iterable[tuple[bytes, bytes]],
    ) -> bool: ...
    def cancel(self, id: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        The client left.
        """
    def close(self) -> None:
        """
        Cancels what runs; idempotent.
        """
    def drain(self) -> list[tuple[int, int, bytes | None, bytes, bool]]:
        """
        Events (id, status or 0, header fields or None, body, more), in order.
        """
    def drain_provider(self) -> list[tuple[str, int, str, str, str, str, bool, bytes]]:
        """
        Provider work (kind, call_id, upstream, endpoint, model, request_id, stream, body).
        """
    def fileno(self) -> int:
        """
        Readable when drain() or drain_provider() has something.
        """
    def flush(self) -> None:
        """
        Sends on what was submitted since the last flush.
        """
    def refuse(
        self,
        endpoint: Endpoint,
        path: str,
        query: bytes,
        headers: collections.abc.Iterable[tuple[bytes, bytes]],
        code: ErrorCode,
        message: str,
        param: str = "",
        peer: str = "",
    ) -> tuple[int, int, bytes | None, bytes, bool]:
        """
        The event that answers a request which the door must refuse.
        """
    def submit(
        self,
        endpoint: Endpoint,
        path: str,
        query: bytes,
        headers: collections.abc.Iterable[tuple[bytes, bytes]],
        body: bytes,
        peer: str = "",
    ) -> int | tuple[int, int, bytes | None, bytes, bool]:
        """
        An id, sent on by flush(), or at once the event that answers: (0, status, header fields, body, False).
        """
    def taken(
        self,
        id: typing.SupportsInt | typing.SupportsIndex,
        bytes: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """
        The client's socket took these bytes.
        """

class Rate:
    """
    What a rule allows, as "100/min" or "5 usd/day burst 1".
    """
    def __init__(self, text: str) -> None: ...
    @property
    def kind(self) -> str: ...
    @property
    def period_seconds(self) -> float: ...

class LimitTable:
    """
    Buckets by key. reserve and charge give (reservation or None, seconds to wait or None if it passed, requests, tokens); each view is (limit, remaining, reset).
    """
    def __init__(
        self,
        *,
        max_buckets: typing.SupportsInt | typing.SupportsIndex,
        max_reservations: typing.SupportsInt | typing.SupportsIndex,
        reservation_seconds: typing.SupportsFloat | typing.SupportsIndex,
        seed: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...
    def charge(
        self,
        key: bytes,
        costs: collections.abc.Sequence[tuple[Rate, typing.SupportsInt | typing.SupportsIndex]],
        now: typing.SupportsFloat | typing.SupportsIndex,
    ) -> tuple[
        int | None, float | None, tuple[int, int, float] | None, tuple[int, int, float] | None
    ]:
        """
        Takes all costs for good, or none; an infinite wait never ends.
        """
    def look(
        self, key: bytes, rate: Rate, now: typing.SupportsFloat | typing.SupportsIndex
    ) -> tuple[int, int, float]:
        """
        What a bucket has left, of any kind.
        """
    def refund(
        self,
        reservation: typing.SupportsInt | typing.SupportsIndex,
        now: typing.SupportsFloat | typing.SupportsIndex,
    ) -> bool:
        """
        False if the reservation has ended before.
        """
    def reserve(
        self,
        key: bytes,
        costs: collections.abc.Sequence[tuple[Rate, typing.SupportsInt | typing.SupportsIndex]],
        now: typing.SupportsFloat | typing.SupportsIndex,
    ) -> tuple[
        int | None, float | None, tuple[int, int, float] | None, tuple[int, int, float] | None
    ]:
        """
        Takes all costs or none, until settle, refund or expiry; an infinite wait never ends.
        """
    def settle(
        self,
        reservation: typing.SupportsInt | typing.SupportsIndex,
        tokens: typing.SupportsInt | typing.SupportsIndex,
        micro_usd: typing.SupportsInt | typing.SupportsIndex,
        now: typing.SupportsFloat | typing.SupportsIndex,
    ) -> bool:
        """
        False if the reservation has ended before.
        """

class EncodingName:
    """
    The encodings whose vocabularies are in the package.

    Members:

      o200k_base

      cl100k_base
    """

    __members__: typing.ClassVar[dict[str, EncodingName]]
    cl100k_base: typing.ClassVar[EncodingName]
    o200k_base: typing.ClassVar[EncodingName]
    @typing.overload
    def __eq__(self, other: EncodingName) -> bool: ...
    @typing.overload
    def __eq__(self, other: typing.Any) -> bool: ...
    def __getstate__(self) -> int: ...
    def __hash__(self) -> int: ...
    def __index__(self) -> int: ...
    def __init__(self, value: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __int__(self) -> int: ...
    @typing.overload
    def __ne__(self, other: EncodingName) -> bool: ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> bool: ...
    def __repr__(self) -> str: ...
    def __setstate__(self, state: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __str__(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class ModelChoice:
    """
    What a model's texts and messages are counted with.
    """
    @property
    def encoding(self) -> EncodingName: ...
    @property
    def estimated(self) -> bool:
        """
        Whether the model is one that no rule covers.
        """

class Encoding:
    """
    A vocabulary and its rules; immutable, for any thread.
    """
    def __init__(self, name: EncodingName, packed_vocabulary: bytes) -> None:
        """
        ValueError if the vocabulary is damaged.
        """
    def count(self, text: str) -> int:
        """
        The number of tokens.
        """
    def count_messages(
        self, model: ModelChoice, messages: collections.abc.Iterable[tuple[str, str, str | None]]
    ) -> int:
        """
        Tokens of messages (role, content, name or None) with the model's overhead.
        """
    def count_till_limit(self, text: str, limit: int) -> int | None:
        """
        The count, or None if it is above the limit.
        """
    def decode(self, ids: collections.abc.Sequence[typing.SupportsIndex]) -> bytes:
        """
        The tokens' bytes. ValueError if an id is no token.
        """
    def encode(self, text: str) -> list[int]:
        """
        The token ids.
        """

def choose_encoding(model: str) -> ModelChoice:
    """
    The encoding of a model, by its name.
    """

def format_duration(seconds: typing.SupportsFloat | typing.SupportsIndex) -> str:
    """
    As OpenAI writes durations in headers: 12ms, 1.5s, 6m0s.
    """

def key_digest(pepper: str, credential: str) -> bytes:
    """
    HMAC-SHA-256 of a credential under the pepper, 32 bytes (RFC 2104).
    """

def redact(text: str) -> str:
    """
    The text with e-mail addresses, card, SSN and phone numbers and keys replaced by marks.
    """

def truncate_utf8(text: str, max_bytes: typing.SupportsInt | typing.SupportsIndex) -> str:
    """
    The text cut to at most max_bytes of UTF-8, never inside a character.
    """

def whole_seconds(seconds: typing.SupportsFloat | typing.SupportsIndex) -> int:
    """
    For Retry-After: whole seconds, rounded up, at least 1.
    """
