"""`CircuitBreaker`: stops calls to what fails or has become slow, and tries it again with few."""

from __future__ import annotations

import asyncio
import functools
import inspect
import secrets
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, ParamSpec, TypeVar, cast

from sentinel import _core
from sentinel.errors import CircuitOpenError

__all__ = ["BreakerMetrics", "BreakerState", "CircuitBreaker"]

BreakerState = Literal["closed", "half_open", "open", "forced_open", "forced_closed", "disabled"]
Exceptions = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Self = TypeVar("_Self", bound="CircuitBreaker")

_MAX_CALLS: Final = 100_000
_MAX_WINDOW_SECONDS: Final = 86_400
_MAX_WAIT_SECONDS: Final = 3_600
_BUCKETS: Final = 10  # of a window by time: exact to a tenth of it


class BreakerMetrics(NamedTuple):
    """What a breaker knows at one moment.

    `calls`, `failed` and `slow` are those of its window; in half_open those of the probes, in open
    those that opened it. The rates are in percent, None as long as there are too few calls to tell.
    `refused` counts since the breaker was made or reset.
    """

    state: BreakerState
    calls: int
    failed: int
    slow: int
    failure_rate: float | None
    slow_call_rate: float | None
    refused: int


class CircuitBreaker(_core.CircuitBreaker):
    """Lets calls pass while they go well, as resilience4j's circuit breaker does.

    CLOSED, it watches the last `window_size` calls (`window="count"`) or those of the last
    `window_size` seconds (`"time"`). When there are `minimum_calls`, and the percentage of failed
    ones is at least `failure_rate_threshold` or that of calls longer than `slow_call_seconds` at
    least `slow_call_rate_threshold`, it is OPEN and refuses with CircuitOpenError. After
    `wait_seconds` it is HALF_OPEN: `permitted_probes` calls may pass, and when all of them have
    ended the same thresholds decide whether it is CLOSED again or OPEN. Each time it opens again
    without having been CLOSED, the wait is `wait_factor` times as long, up to
    `longest_wait_seconds`, and up to `jitter_percent` of it is added by chance. HALF_OPEN for
    `half_open_seconds` it opens again; a probe that nobody reports gives its place back after
    `probe_seconds`.

    An exception is a failure if it is one of `recorded_exceptions`, nothing at all if it is one of
    `ignored_exceptions`, else a success; each may be a class, a tuple of them or a predicate. What
    is no Exception (a cancelled task, KeyboardInterrupt, GeneratorExit) is nothing: the permit
    comes back.

    Use it as a decorator, by `call` and `acall`, or as `with breaker:` and `async with breaker:`.
    `on_state_change(old, new)` is called after each change, in the thread that caused it; what it
    raises goes to sys.unraisablehook. `clock` gives seconds that never go back (default:
    time.monotonic). Usable from any thread and task. ValueError if a parameter is out of range.
    The pattern is Nygard's (Release It!, 2007).
    """

    __slots__ = ("__weakref__",)

    def __init__(
        self,
        name: str = "",
        *,
        failure_rate_threshold: int = 50,
        slow_call_rate_threshold: int = 100,
        slow_call_seconds: float | None = None,
        window: Literal["count", "time"] = "count",
        window_size: int = 100,
        minimum_calls: int = 20,
        wait_seconds: float = 5.0,
        wait_factor: int = 1,
        longest_wait_seconds: float | None = None,
        jitter_percent: int = 0,
        permitted_probes: int = 1,
        probe_seconds: float = 60.0,
        half_open_seconds: float | None = None,
        recorded_exceptions: Exceptions = Exception,
        ignored_exceptions: Exceptions = (),
        clock: Callable[[], float] | None = None,
        on_state_change: Callable[[BreakerState, BreakerState], object] | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be str, not {type(name).__name__}")
        if window not in ("count", "time"):
            raise ValueError(f'window must be "count" or "time", not {window!r}')
        by_time = window == "time"
        _whole("failure_rate_threshold", failure_rate_threshold, 1, 100)
        _whole("slow_call_rate_threshold", slow_call_rate_threshold, 1, 100)
        _whole("window_size", window_size, 1, _MAX_WINDOW_SECONDS if by_time else _MAX_CALLS)
        _whole("minimum_calls", minimum_calls, 1, _MAX_CALLS if by_time else window_size)
        _whole("wait_factor", wait_factor, 1, 10)
        _whole("jitter_percent", jitter_percent, 0, 100)
        _whole("permitted_probes", permitted_probes, 1, 1_000)
        _seconds("slow_call_seconds", slow_call_seconds, 1e-6, _MAX_WINDOW_SECONDS)
        _seconds("wait_seconds", wait_seconds, 1e-6, _MAX_WAIT_SECONDS)
        _seconds("longest_wait_seconds", longest_wait_seconds, wait_seconds, _MAX_WAIT_SECONDS)
        _seconds("probe_seconds", probe_seconds, 1e-3, _MAX_WINDOW_SECONDS)
        _seconds("half_open_seconds", half_open_seconds, 1e-6, _MAX_WINDOW_SECONDS)
        _exceptions("recorded_exceptions", recorded_exceptions)
        _exceptions("ignored_exceptions", ignored_exceptions)
        super().__init__(
            name=name,
            failure_rate_percent=failure_rate_threshold,
            slow_rate_percent=slow_call_rate_threshold,
            slow_seconds=slow_call_seconds or 0.0,
            by_time=by_time,
            window_calls=1 if by_time else window_size,
            window_seconds=float(window_size if by_time else 1),
            window_buckets=_BUCKETS,
            minimum_calls=minimum_calls,
            wait_seconds=wait_seconds,
            wait_factor=wait_factor,
            longest_wait_seconds=longest_wait_seconds or _MAX_WAIT_SECONDS,
            jitter_percent=jitter_percent,
            probes=permitted_probes,
            probe_seconds=probe_seconds,
            half_open_seconds=half_open_seconds or 0.0,
            recorded=recorded_exceptions,
            ignored=ignored_exceptions,
            clock=clock,
            on_change=on_state_change,
            open_error=CircuitOpenError,
            seed=secrets.randbits(64),
        )

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """The function, sync or async, with each of its calls under this breaker.

        TypeError for a generator function: put `with breaker:` into it.
        """
        if not callable(function):
            raise TypeError(f"a breaker guards functions, not {type(function).__name__}")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError("a breaker cannot guard a generator function: use it inside by `with`")
        is_async = asyncio.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            type(function).__call__
        )
        guarded = self.guard(function, is_async)
        functools.update_wrapper(guarded, function)
        if is_async:  # what asyncio.iscoroutinefunction looks for in callables
            guarded._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)
        return cast("Callable[_P, _R]", guarded)

    async def acall(
        self, function: Callable[_P, Awaitable[_R]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """Await `function(*args, **kwargs)` under the breaker. CircuitOpenError if it refuses."""
        with self:
            return await function(*args, **kwargs)

    def metrics(self) -> BreakerMetrics:
        """Counts and rates of this moment."""
        state = self.state
        calls, failed, slow, refused, enough = self.counts()
        failure_rate = 100 * failed / calls if enough else None
        slow_call_rate = 100 * slow / calls if enough else None
        return BreakerMetrics(state, calls, failed, slow, failure_rate, slow_call_rate, refused)

    async def __aenter__(self: _Self) -> _Self:
        self.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    if TYPE_CHECKING:  # the compiled parts, as they are meant to be used

        @property
        def name(self) -> str: ...

        @property
        def state(self) -> BreakerState: ...

        def call(self, function: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            """Call `function(*args, **kwargs)` under the breaker. CircuitOpenError if refused."""

        def __enter__(self: _Self) -> _Self: ...

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
            /,
        ) -> None: ...


def _whole(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be {least} to {most}, not {value}")


def _seconds(name: str, value: object, least: float, most: float) -> None:
    if value is None and name in _MAY_BE_NONE:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be seconds, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be {least:g} to {most:g}, not {value!r}")


_MAY_BE_NONE: Final = frozenset({"slow_call_seconds", "longest_wait_seconds", "half_open_seconds"})


def _exceptions(name: str, value: Any) -> None:
    classes = value if isinstance(value, tuple) else (value,)
    if all(isinstance(one, type) and issubclass(one, BaseException) for one in classes):
        return
    if isinstance(value, tuple | type) or not callable(value):
        raise TypeError(f"{name} must be exception classes or a predicate, not {value!r}")
