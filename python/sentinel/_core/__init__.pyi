"""
The C++ engine of Sentinel. Import it through the sentinel packages, not directly.
"""

from __future__ import annotations

import collections.abc
import typing

import typing_extensions

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
    def drain(self) -> list[tuple[int, int, bytes | None, bytes, bool, bool]]:
        """
        Events (id, status or 0, header fields or None, body, more, close), in order.
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
    ) -> tuple[int, int, bytes | None, bytes, bool, bool]:
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
    ) -> int | tuple[int, int, bytes | None, bytes, bool, bool]:
        """
        An id, sent on by flush(), or at once the event that answers, its id 0.
        """
    def submit_wire(
        self, data: bytes, peer: str, most_body_bytes: typing.SupportsInt | typing.SupportsIndex
    ) -> int | tuple[int, int, bytes | None, bytes, bool, bool] | None:
        """
        submit() of a connection's bytes, if they are one whole request for a governed endpoint, else None. The bodies of its events are bytes for the connection, to be written as they are.
        """
    def taken(
        self,
        id: typing.SupportsInt | typing.SupportsIndex,
        bytes: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """
        The client's socket took these bytes.
        """
    def written(self, id: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        The client's socket took all that was drained.
        """

class ObjectCache:
    """
    A bounded cache of Python objects, in memory: holds references, by hash and equality as a dict does.

    ObjectCache(max_entries=None, *, max_bytes=None, ttl=None, policy='adaptive', weigh=None, clock=None)

    At least one of max_entries and max_bytes. ttl: seconds that entries are fresh unless `set` says otherwise.
    policy: 'lru', or 'adaptive': W-TinyLFU (Einziger, Friedman, Manes 2017) that gives way to LRU when a sample of the
    accesses shows that recency hits more. weigh(key, value): bytes of an entry, 0 or more, else sys.getsizeof of both and
    96 for the entry. clock(): seconds, monotonic; else the system's, to which expiry is exact.
    ValueError for parameters out of range. Threads: safe under the GIL; keys and values may call the cache back.
    """
    def __contains__(self, key: typing.Any) -> bool:
        """
        Whether `get` would find it. Nothing is counted.
        """
    def __init__(
        self,
        max_entries: int | None = None,
        *,
        max_bytes: int | None = None,
        ttl: float | None = None,
        policy: str = "adaptive",
        weigh: collections.abc.Callable[[typing.Any, typing.Any], int] | None = None,
        clock: collections.abc.Callable[[], float] | None = None,
    ) -> None: ...
    def __len__(self) -> int:
        """
        How many entries can still be given, fresh or stale; removes what cannot.
        """
    def clear(self) -> None:
        """
        Removes everything; the counters stay.
        """
    def clock_seconds(self) -> float:
        """
        The cache's clock: seconds, monotonic.
        """
    def counters(self) -> dict[str, int]:
        """
        hits, misses, stale_hits, sets, evictions (for room), expirations, rejections (too heavy), entries, and bytes
        (0 without max_bytes). entries and bytes may hold some that have expired and were not met yet.
        """
    def delete(self, key: typing.Any) -> bool:
        """
        Removes the key; True when it had a value, be it a stale one.
        """
    def expire(self) -> int:
        """
        Removes what is past its ttl and its stale window; how many.
        Not needed for correctness: such entries are never given, and each `set` removes some.
        """
    def get(self, key: typing.Any, default: typing.Any = None) -> typing.Any:
        """
        The fresh value of the key, else `default`. Counts a hit or a miss and renews the entry.
        Without any ttl no clock is read.
        """
    def invalidate_pattern(self, pattern: str) -> int:
        """
        Removes every entry whose key is a str that the shell pattern matches as a whole; how many.
        * is any run, ? any one character, [abc] or [a-z] one of a class, [!abc] one not of it. Looks at every entry, in at most
        length of key x length of pattern steps.
        """
    def invalidate_tag(self, tag: str) -> int:
        """
        Removes every entry that was stored with the tag; how many.
        """
    def items(self) -> list[tuple[typing.Any, typing.Any]]:
        """
        Keys and values of fresh entries, in the order of `keys`.
        """
    def keys(self) -> list[typing.Any]:
        """
        The keys of fresh entries, those that would be kept longest first. With policy "lru": newest first.
        """
    def lookup(self, key: typing.Any) -> tuple[typing.Any, float, float] | None:
        """
        The value with the seconds it stays fresh (negative when it is past that and within its stale window, math.inf
        without ttl) and its cost in seconds. Counts a hit, a stale hit or a miss, and renews the entry.
        """
    def peek(self, key: typing.Any, default: typing.Any = None) -> typing.Any:
        """
        As `get`, but nothing is counted and the entry is not renewed.
        """
    def pop(self, key: typing.Any, default: typing.Any = None) -> typing.Any:
        """
        Removes the key and gives its fresh value, else `default`. Nothing is counted.
        """
    def set(
        self,
        key: typing.Any,
        value: typing.Any,
        *,
        ttl: float | None = None,
        stale: float = 0.0,
        tags: collections.abc.Iterable[str] = (),
        cost: float = 0.0,
    ) -> bool:
        """
        Stores the value, in place of an older one. False when it is heavier than the whole bound: then the key has no value.
        Otherwise it can be read right after: a new entry enters a window ordered by recency, and the adaptive
        policy judges it by its uses only when it leaves that window.

        ttl: seconds for which it is fresh, above 0; None is the cache's own, math.inf no end. stale: seconds for which
        `lookup` still gives it afterwards. tags: names for `invalidate_tag`. cost: seconds that computing the value took.
        ValueError for a ttl that is not above 0, a negative stale or cost; TypeError for an unhashable key.
        """
    @property
    def max_bytes(self) -> int | None:
        """
        The most bytes held; None: not bounded by them.
        """
    @property
    def max_entries(self) -> int | None:
        """
        The most entries held; None: not bounded by them.
        """
    @property
    def policy(self) -> str:
        """
        'adaptive' or 'lru'.
        """
    @property
    def ttl(self) -> float | None:
        """
        Seconds that entries are fresh by default; None: without end.
        """

class ReadyAnswer:
    """
    What a cached asynchronous function gives on a hit: await it once.
    """
    def __await__(self) -> collections.abc.Iterator[typing.Any]:
        """
        Itself.
        """
    def __iter__(self) -> collections.abc.Iterator[typing.Any]:
        """
        Itself.
        """
    def __next__(self) -> typing.Any:
        """
        Ends with the value.
        """
    def close(self) -> None:
        """
        Drops the value.
        """
    def send(self, value: typing.Any) -> typing.Any:
        """
        Ends with the value.
        """
    def throw(self, *exception: typing.Any) -> typing.Any:
        """
        Raises the exception here.
        """

class CachedFunction:
    """
    A function whose results are kept in an ObjectCache. Made by sentinel.cached.
    """
    def __call__(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """
        The value kept for these arguments, or a new one.
        """
    def __get__(self, instance: typing.Any, owner: type | None = None) -> typing.Any:
        """
        Binds it as a method.
        """
    def __init__(
        self,
        function: collections.abc.Callable[..., typing.Any],
        cache: ObjectCache,
        *,
        miss: collections.abc.Callable[..., typing.Any],
        freeze: collections.abc.Callable[..., typing.Any],
        gone: collections.abc.Callable[[str], typing.Any],
        key: typing.Any,
        name_space: str,
        prefix: str,
        names: tuple[str, ...],
        defaults: tuple[tuple[typing.Any] | None, ...],
        positional: int,
        by_position_only: int,
        extra_positional: bool,
        extra_keywords: bool,
        shared: bool,
        asynchronous: bool,
    ) -> None: ...
    def __reduce__(self) -> str:
        """
        Pickled and copied by name, as functions are.
        """
    def __repr__(self) -> str: ...
    def __set_name__(self, owner: type, name: str) -> None:
        """
        From now on the first argument is an instance.
        """
    def key_of(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """
        The cache's key of such a call. TypeError if the function does not take these arguments.
        """
    def reset_counts(self) -> None:
        """
        Begin to count anew.
        """

class Rate:
    """
    What a rule allows, as "100/min" or "5 usd/day burst 1".
    """
    def __init__(self, text: str) -> None: ...
    @property
    def amount(self) -> int: ...
    @property
    def burst(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def period_microseconds(self) -> int: ...

class Reservation:
    """
    A name for what was taken, good for one settle, release or refund.
    """
    def __eq__(self, value: object) -> bool:
        """
        Return self==value.
        """
    def __ge__(self, value: typing.Any) -> bool:
        """
        Return self>=value.
        """
    def __gt__(self, value: typing.Any) -> bool:
        """
        Return self>value.
        """
    def __hash__(self) -> int:
        """
        Return hash(self).
        """
    def __le__(self, value: typing.Any) -> bool:
        """
        Return self<=value.
        """
    def __lt__(self, value: typing.Any) -> bool:
        """
        Return self<value.
        """
    def __ne__(self, value: object) -> bool:
        """
        Return self!=value.
        """
    def __repr__(self) -> str:
        """
        Return repr(self).
        """

class Decision:
    """
    Whether a call may pass; truthy if it may.
    """
    def __bool__(self) -> bool:
        """
        True if self else False
        """
    def __repr__(self) -> str:
        """
        Return repr(self).
        """
    def headers(self) -> dict[str, str]:
        """
        x-ratelimit-* of requests and tokens, and Retry-After if waiting helps.
        """

class RateLimiter:
    """
    Buckets by key, for some rules. See sentinel.limits.
    """
    def __init__(
        self,
        *,
        rates: tuple[Rate, ...],
        concurrency: int,
        clock: typing.Any,
        max_keys: int,
        hold_seconds: float,
        seed: int,
        headroom: type,
    ) -> None: ...
    def acquire(self, key: str, cost: typing.Any = 1, now: float | None = None) -> typing.Any:
        """
        Takes the cost for the key now, if every rule allows it.
        """
    def refund(self, reservation: typing.Any, now: float | None = None) -> bool:
        """
        Everything comes back; False if the reservation has ended before.
        """
    def release(self, reservation: typing.Any, now: float | None = None) -> bool:
        """
        What was held was used; False if the reservation has ended before.
        """
    def settle(self, reservation: typing.Any, actual: typing.Any, now: float | None = None) -> bool:
        """
        What was really used takes the place of what was held; False if the reservation has ended before.
        """

class TokenBucket:
    """
    One bucket of whole units. See sentinel.limits.
    """
    def __init__(
        self, *, amount: int, period_microseconds: int, burst: int, clock: typing.Any
    ) -> None: ...
    def remaining(self, now: float | None = None) -> int:
        """
        What could be taken now.
        """
    def retry_after_seconds(self, cost: int = 1, now: float | None = None) -> float | None:
        """
        When cost could be taken: 0.0 is now; None is never, for it is above the burst. Takes nothing.
        """
    def try_acquire(self, cost: int = 1, now: float | None = None) -> bool:
        """
        Takes cost now, or nothing: whether it did.
        """

class CircuitBreaker:
    """
    A circuit breaker. See sentinel.resilience.
    """
    def __enter__(self) -> typing.Self: ...
    def __exit__(self, *error: typing.Any) -> None: ...
    def __init__(
        self,
        *,
        name: str,
        failure_rate_percent: int,
        slow_rate_percent: int,
        slow_seconds: float,
        by_time: bool,
        window_calls: int,
        window_seconds: float,
        window_buckets: int,
        minimum_calls: int,
        wait_seconds: float,
        wait_factor: int,
        longest_wait_seconds: float,
        jitter_percent: int,
        probes: int,
        probe_seconds: float,
        half_open_seconds: float,
        recorded: typing.Any,
        ignored: typing.Any,
        clock: typing.Any,
        on_change: typing.Any,
        open_error: type,
        seed: int,
    ) -> None: ...
    def allow(self) -> bool:
        """
        Whether a call may pass now.
        """
    def call(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """
        Calls a function under the breaker.
        """
    def cancel(self) -> None:
        """
        A call that allow() let pass says nothing: its permit comes back.
        """
    def counts(self) -> tuple[int, int, int, int, bool]:
        """
        Calls, failed, slow, refused; whether the calls suffice.
        """
    def disable(self) -> None:
        """
        Lets all pass and counts nothing.
        """
    def force_closed(self) -> None:
        """
        Lets all pass and counts, until told otherwise.
        """
    def force_open(self) -> None:
        """
        Refuses all, until told otherwise.
        """
    def guard(self, function: typing.Any, is_async: bool) -> typing.Any:
        """
        The function with all its calls watched.
        """
    def half_open(self) -> None:
        """
        Lets probes pass now.
        """
    def open(self) -> None:
        """
        Opens it by hand, with its usual wait.
        """
    def record_failure(self, seconds: float = 0.0) -> None:
        """
        A call that allow() let pass failed.
        """
    def record_success(self, seconds: float = 0.0) -> None:
        """
        A call that allow() let pass went well.
        """
    def reset(self) -> None:
        """
        Closes it, as new.
        """

class GuardedFunction:
    """
    A function whose calls its breaker watches.
    """
    def __call__(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """
        Call self as a function.
        """
    def __get__(self, instance: object, owner: typing.Any = None) -> typing.Any:
        """
        Return an attribute of instance, which is of type owner.
        """

class GuardedCoroutine:
    """
    A coroutine whose end its breaker learns of.
    """
    def __await__(self) -> collections.abc.Generator[typing.Any, typing.Any, typing.Any]:
        """
        Return an iterator to be used in await expression.
        """
    def __getattribute__(self, name: str) -> typing.Any:
        """
        Return getattr(self, name).
        """
    def __iter__(self) -> typing.Any:
        """
        Implement iter(self).
        """
    def __next__(self) -> typing.Any:
        """
        Implement next(self).
        """
    def close(self) -> None: ...
    def send(self, value: typing.Any) -> typing.Any: ...
    def throw(self, *error: typing.Any) -> typing.Any: ...

class _BreakerBlock:
    pass

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

class SSEEvent:
    """
    One server-sent event, immutable: compares, hashes and matches by its fields.
    """

    __match_args__ = ("event", "data", "id", "retry")
    def __eq__(self, other: typing.Any) -> bool: ...
    def __hash__(self) -> int: ...
    def __init__(self, event: str, data: str, id: str = "", retry: int | None = None) -> None: ...
    def __reduce__(self) -> tuple[typing.Any, ...]:
        """
        For pickle and copy.
        """
    def __repr__(self) -> str: ...
    @property
    def data(self) -> str:
        """
        The data lines joined by line feeds; decoded when first asked for.
        """
    @property
    def event(self) -> str:
        """
        The type: "message" when the stream names none.
        """
    @property
    def id(self) -> str:
        """
        The last event id so far, empty when there is none.
        """
    @property
    def retry(self) -> int | None:
        """
        The reconnection time in milliseconds that this event carried.
        """

class SSEParser:
    """
    Server-sent events out of bytes, cut anywhere (WHATWG HTML, section 9.2.6). One stream, one thread at a time.
    """
    def __init__(self, max_event_bytes: int = 1048576) -> None: ...
    def close(self) -> None:
        """
        The stream has ended: an event without its blank line is dropped, as the standard says.

        StreamTooLarge if that ended it. May be called again.
        """
    def feed(self, data: bytes | bytearray | memoryview) -> list[SSEEvent]:
        """
        The events that these bytes complete, in order.

        StreamTooLarge if an event is larger than max_event_bytes; events before it come first, the next call raises.
        """
    def feed_count(self, data: bytes | bytearray | memoryview) -> int:
        """
        Like feed, but only how many events these bytes complete.
        """
    def feed_data(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """
        Like feed, but only the data of each event, as the bytes that came (they may not be UTF-8).
        """
    @property
    def last_event_id(self) -> str:
        """
        The last id of a finished block, for Last-Event-ID.
        """
    @property
    def pending_bytes(self) -> int:
        """
        How many bytes of an unfinished block are held.
        """
    @property
    def retry(self) -> int | None:
        """
        The reconnection time in milliseconds, if one was given.
        """

class ChatAccumulator:
    """
    A chat completion put together from the bytes of its stream. One stream, one thread at a time.
    """
    def __init__(
        self, *, max_event_bytes: int = 1048576, max_kept_bytes: int = 16777216
    ) -> None: ...
    def close(self) -> None:
        """
        The bytes have ended: StreamCut unless the stream is complete, or the fault there was.
        """
    def feed(self, data: bytes | bytearray | memoryview) -> str:
        """
        Take bytes of the stream in; the text that they add to the first choice's content.

        StreamFailed if the provider reports an error, StreamTooLarge past a bound, StreamError if an event is no JSON
        object. Text before a fault comes first; the next call raises.
        """
    @property
    def choices(self) -> list[dict[str, typing.Any]]:
        """
        All choices so far, by index.
        """
    @property
    def complete(self) -> bool:
        """
        Whether the stream's end ([DONE]) was read.
        """
    @property
    def completion(self) -> dict[str, typing.Any]:
        """
        The whole chat.completion so far.
        """
    @property
    def finish_reason(self) -> str | None:
        """
        Why the first choice ended.
        """
    @property
    def message(self) -> dict[str, typing.Any]:
        """
        The first choice's message so far, as a plain call has it.
        """
    @property
    def usage(self) -> dict[str, typing.Any] | None:
        """
        What the provider says was used.
        """

class VectorIndex:
    """
    Vectors by id, and the nearest by cosine; buffers are float16, float32 or float64 of whole rows, ids int64. For any thread.
    """
    @staticmethod
    def load(descriptor: typing.SupportsInt | typing.SupportsIndex) -> VectorIndex:
        """
        Of an open file, whole. ValueError if these are not a snapshot's bytes.
        """
    def __contains__(self, id: typing.SupportsInt | typing.SupportsIndex) -> bool: ...
    def __init__(self, dimension: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __len__(self) -> int: ...
    def add(
        self, ids: typing_extensions.Buffer, vectors: typing_extensions.Buffer, partition: str
    ) -> None: ...
    def remove(self, ids: typing_extensions.Buffer) -> int:
        """
        The number of those that were there.
        """
    def search(
        self,
        queries: typing_extensions.Buffer,
        k: typing.SupportsInt | typing.SupportsIndex,
        partition: str | None,
        exact: bool,
    ) -> list[tuple[list[int], list[float]]]:
        """
        For each query (ids, scores), best first.
        """
    def snapshot(self) -> bytes: ...
    @property
    def dimension(self) -> int: ...

class SemanticStream:
    """
    A recorded stream: texts, vectors, answer ids, partitions.
    """
    def __init__(
        self,
        texts: collections.abc.Sequence[str],
        vectors: typing_extensions.Buffer,
        answers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        partitions: collections.abc.Sequence[str],
        beyond_window: collections.abc.Sequence[bool],
        dimension: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...
    def __len__(self) -> int: ...

class SemanticReplay:
    """
    What the semantic policy would have done with a stream. For one thread at a time.
    """
    @staticmethod
    def shuffled(
        rows: typing.SupportsInt | typing.SupportsIndex,
        seed: typing.SupportsInt | typing.SupportsIndex,
    ) -> list[int]: ...
    def __init__(
        self,
        *,
        dimension: typing.SupportsInt | typing.SupportsIndex,
        fixed_threshold: typing.SupportsFloat | typing.SupportsIndex | None,
        exact_only: bool,
        max_error: typing.SupportsFloat | typing.SupportsIndex,
        of: str,
        judge_error: typing.SupportsFloat | typing.SupportsIndex,
        max_entries: typing.SupportsInt | typing.SupportsIndex,
        seed: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...
    def counts(self) -> dict[str, typing.Any]: ...
    def probe(
        self,
        stored: SemanticStream,
        asked: SemanticStream,
        place: typing.SupportsInt | typing.SupportsIndex,
    ) -> dict[str, typing.Any]:
        """
        Whether the asked row would be served from the stored one, and why.
        """
    def run(
        self,
        stream: SemanticStream,
        places: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    ) -> None:
        """
        Offers the rows at these places, in this order.
        """
    def status(self) -> dict[str, typing.Any]: ...

def choose_encoding(model: str) -> ModelChoice:
    """
    The encoding of a model, by its name.
    """

def key_digest(pepper: str, credential: str) -> bytes:
    """
    HMAC-SHA-256 of a credential under the pepper, 32 bytes (RFC 2104).
    """

def redact(text: str) -> str:
    """
    The text with e-mail addresses, card, SSN and phone numbers and keys replaced by marks.
    """

def request_digest(
    body: bytes | bytearray | memoryview | str, *, endpoint: str = "/v1/chat/completions"
) -> bytes:
    """
    The 32 bytes by which the gateway's exact cache knows the request (SHA-256 of a canonical form).

    Bodies that differ in white space, key order, escapes, the writing of numbers, or in what does not change the
    answer (stream, stream_options, user, safety_identifier, metadata, prompt_cache_key) have the same.
    ValueError if the body is no JSON object in UTF-8, has a key twice or half of a surrogate pair.
    """

def truncate_utf8(text: str, max_bytes: typing.SupportsInt | typing.SupportsIndex) -> str:
    """
    The text cut to at most max_bytes of UTF-8, never inside a character.
    """
