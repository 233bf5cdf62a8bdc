"""`CircuitBreaker` around functions, coroutines and blocks. Time is what the test says."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel import CircuitBreaker, resilience
from sentinel.errors import CircuitOpenError, SentinelError
from sentinel.resilience import BreakerMetrics


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Failed(Exception):
    pass


def small(**given: Any) -> CircuitBreaker:
    """Opens with the second failure of two calls."""
    return CircuitBreaker(**{"minimum_calls": 2, "window_size": 2, "clock": Clock(), **given})


def half_open(**given: Any) -> CircuitBreaker:
    breaker = small(**given)
    breaker.open()
    breaker.half_open()
    return breaker


def fails(error: BaseException) -> Callable[[], None]:
    def failing() -> None:
        raise error

    return failing


def counts(breaker: CircuitBreaker) -> tuple[int, int, int]:
    metrics = breaker.metrics()
    return metrics.calls, metrics.failed, metrics.slow


# The ways to call, each of them one call

Way = Callable[[CircuitBreaker, Callable[[], Any]], Any]


def by_call(breaker: CircuitBreaker, function: Callable[[], Any]) -> Any:
    return breaker.call(function)


def by_decorator(breaker: CircuitBreaker, function: Callable[[], Any]) -> Any:
    return breaker(function)()


def by_with(breaker: CircuitBreaker, function: Callable[[], Any]) -> Any:
    with breaker:
        return function()


def run(coroutine: Any) -> Any:
    """Runs what awaits nothing that is not ready."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as stop:
        return stop.value


def as_async(function: Callable[[], Any], waits: int = 1) -> Callable[[], Any]:
    async def asynchronous() -> Any:
        for _ in range(waits):
            await asyncio.sleep(0)
        return function()

    return asynchronous


def by_acall(breaker: CircuitBreaker, function: Callable[[], Any]) -> Any:
    return run(breaker.acall(as_async(function)))


def by_async_decorator(breaker: CircuitBreaker, function: Callable[[], Any]) -> Any:
    return run(breaker(as_async(function))())


def by_awaited_decorator(breaker: CircuitBreaker, function: Callable[[], Any]) -> Any:
    guarded = breaker(as_async(function))

    async def caller() -> Any:
        return await guarded()

    return run(caller())


def by_async_with(breaker: CircuitBreaker, function: Callable[[], Any]) -> Any:
    async def block() -> Any:
        async with breaker:
            await asyncio.sleep(0)
            return function()

    return run(block())


WAYS = [
    by_call,
    by_decorator,
    by_with,
    by_acall,
    by_async_decorator,
    by_awaited_decorator,
    by_async_with,
]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@every_way
def test_a_call_that_goes_well_gives_its_result_and_counts(way: Way) -> None:
    breaker = small()
    assert way(breaker, lambda: "answer") == "answer"
    assert counts(breaker) == (1, 0, 0)


@every_way
def test_a6_a_breaker_that_was_never_used_lets_pass(way: Way) -> None:
    breaker = CircuitBreaker()
    assert breaker.metrics() == BreakerMetrics("closed", 0, 0, 0, None, None, 0)
    assert way(breaker, lambda: None) is None


@every_way
def test_failures_open_it_and_the_next_is_refused_without_a_call(way: Way) -> None:
    breaker = small(name="payments", wait_seconds=5)
    for _ in range(2):
        with pytest.raises(Failed):
            way(breaker, fails(Failed()))
    assert breaker.state == "open"
    with pytest.raises(CircuitOpenError, match="'payments' is open: try again in 5 s") as refused:
        way(breaker, lambda: pytest.fail("was called"))
    assert refused.value.retry_after_seconds == 5.0
    assert isinstance(refused.value, SentinelError)
    assert breaker.metrics().refused == 1


@every_way
def test_a_forced_open_breaker_does_not_know_when(way: Way) -> None:
    breaker = small()
    breaker.force_open()
    with pytest.raises(CircuitOpenError, match="the circuit breaker is forced open") as refused:
        way(breaker, lambda: None)
    assert refused.value.retry_after_seconds is None


@every_way
@pytest.mark.parametrize(
    "leaving", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit]
)
def test_a_call_that_was_cut_off_is_nothing_and_gives_its_probe_back(
    way: Way, leaving: type[BaseException]
) -> None:
    breaker = half_open(permitted_probes=1)
    for _ in range(3):
        with pytest.raises(leaving):
            way(breaker, fails(leaving()))
    assert (breaker.state, counts(breaker)) == ("half_open", (0, 0, 0))
    way(breaker, lambda: None)
    assert breaker.state == "closed"


@every_way
def test_ignored_exceptions_are_nothing_and_others_than_recorded_are_successes(way: Way) -> None:
    breaker = small(recorded_exceptions=(OSError, Failed), ignored_exceptions=FileNotFoundError)
    for error in (FileNotFoundError(), ValueError()):
        with pytest.raises(type(error)):
            way(breaker, fails(error))
    assert counts(breaker) == (1, 0, 0)
    with pytest.raises(PermissionError):
        way(breaker, fails(PermissionError()))
    assert counts(breaker) == (2, 1, 0)


@every_way
def test_predicates_say_what_counts(way: Way) -> None:
    breaker = small(
        recorded_exceptions=lambda error: "bad" in str(error),
        ignored_exceptions=lambda error: "gone" in str(error),
        minimum_calls=2,
    )
    for text in ("gone", "bad and gone", "odd", "bad"):
        with pytest.raises(Failed):
            way(breaker, fails(Failed(text)))
    assert counts(breaker) == (2, 1, 0)


@every_way
def test_a_predicate_that_raises_hides_no_failure_and_leaks_no_probe(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)

    def broken(error: BaseException) -> bool:
        raise LookupError

    breaker = half_open(recorded_exceptions=broken, ignored_exceptions=broken, permitted_probes=2)
    with pytest.raises(Failed):
        way(breaker, fails(Failed()))
    assert counts(breaker) == (1, 1, 0)
    assert [hook.exc_type for hook in seen] == [LookupError, LookupError]


@every_way
def test_slow_calls_count_as_slow(way: Way) -> None:
    clock = Clock()
    breaker = small(slow_call_seconds=2, slow_call_rate_threshold=100, clock=clock)

    def taking(seconds: float) -> Callable[[], None]:
        def take() -> None:
            clock.now += seconds

        return take

    way(breaker, taking(2.0))
    assert counts(breaker) == (1, 0, 0)
    way(breaker, taking(2.000001))
    way(breaker, taking(3))
    assert (breaker.state, counts(breaker)) == ("open", (2, 0, 2))


# Functions


def test_a_guarded_function_is_called_with_its_arguments_and_looks_like_itself() -> None:
    breaker = CircuitBreaker()

    @breaker
    def add(one: int, *rest: int, last: int = 0) -> int:
        """Adds."""
        return one + sum(rest) + last

    assert add(1) == 1
    assert add(1, 2, 3, last=4) == 10
    assert add(*[1, 2], **{"last": 3}) == 6
    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Adds.", __name__)
    assert str(inspect.signature(add)).startswith("(one: 'int', *rest: 'int'")
    assert inspect.unwrap(add) is not add
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        add()  # type: ignore[call-arg]
    assert counts(breaker) == (4, 1, 0)


def test_methods_class_methods_and_static_methods_can_be_guarded() -> None:
    breaker = CircuitBreaker()

    class Client:
        @breaker
        def ask(self, text: str) -> tuple[object, str]:
            return self, text

        @breaker
        async def aask(self, text: str) -> tuple[object, str]:
            return self, text

        @classmethod
        @breaker
        def kind(cls, text: str) -> tuple[object, str]:
            return cls, text

        @staticmethod
        @breaker
        def plain(text: str) -> str:
            return text

    client = Client()
    bound = client.ask
    for answer in (bound("a"), client.ask("a"), Client.ask(client, text="a")):
        assert answer == (client, "a")
    assert run(client.aask("b")) == (client, "b")
    assert client.kind("c") == Client.kind("c") == (Client, "c")
    assert client.plain("d") == "d"
    assert counts(breaker) == (7, 0, 0)


@pytest.mark.parametrize("bad", [5, "text", None])
def test_only_callables_are_guarded(bad: Any) -> None:
    with pytest.raises(TypeError, match="a breaker guards functions, not"):
        CircuitBreaker()(bad)


def test_generator_functions_are_refused_for_a_call_of_one_does_nothing_yet() -> None:
    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    for function in (generator, async_generator):
        with pytest.raises(TypeError, match="cannot guard a generator function"):
            CircuitBreaker()(function)


def test_call_and_acall_pass_arguments_on() -> None:
    breaker = CircuitBreaker()

    async def twice(number: int, *, plus: int = 0) -> int:
        return 2 * number + plus

    assert breaker.call(max, 1, 7, 3) == 7
    assert breaker.call(sorted, [1, 2], reverse=True) == [2, 1]
    assert run(breaker.acall(twice, 4, plus=1)) == 9
    with pytest.raises(TypeError, match="missing argument 'function'"):
        breaker.call()  # type: ignore[call-arg]


def test_a_function_may_call_itself_and_another_under_the_same_breaker() -> None:
    breaker = CircuitBreaker(minimum_calls=1)

    @breaker
    def count_down(number: int) -> int:
        with breaker:
            return 0 if number == 0 else count_down(number - 1)

    assert count_down(10) == 0
    assert counts(breaker) == (22, 0, 0)


# Coroutines


async def test_a_guarded_coroutine_function_works_with_tasks_and_is_known_as_one() -> None:
    breaker = CircuitBreaker()

    @breaker
    async def answer(text: str) -> str:
        await asyncio.sleep(0)
        return text

    assert asyncio.iscoroutinefunction(answer)
    assert asyncio.iscoroutine(coroutine := answer("a"))
    assert await coroutine == "a"
    task = asyncio.create_task(answer("b"))
    assert "answer" in repr(task)
    assert list(await asyncio.gather(task, answer("c"))) == ["b", "c"]
    assert await asyncio.wait_for(answer("d"), 30) == "d"
    assert counts(breaker) == (4, 0, 0)


async def test_a_cancelled_task_gives_its_probe_back() -> None:
    breaker = half_open(permitted_probes=1)

    @breaker
    async def forever() -> None:
        await asyncio.Event().wait()

    for _ in range(3):
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        assert not breaker.allow()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (breaker.state, counts(breaker)) == ("half_open", (0, 0, 0))
    assert breaker.allow()


async def test_a_task_that_catches_its_cancellation_has_succeeded() -> None:
    breaker = small()

    @breaker
    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return "done"

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "done"
    assert counts(breaker) == (1, 0, 0)


def test_a_coroutine_asks_the_breaker_when_it_first_runs() -> None:
    breaker = small()
    guarded = breaker(as_async(lambda: 1))
    early = guarded()
    breaker.force_open()
    with pytest.raises(CircuitOpenError):
        early.send(None)
    breaker.reset()
    late = guarded()
    late.close()
    assert counts(breaker) == (0, 0, 0)


def test_a_coroutine_is_used_once_and_not_while_it_runs() -> None:
    breaker = small()
    mine: list[Any] = []

    @breaker
    async def reenters() -> str:
        with pytest.raises(ValueError, match="already executing"):
            mine[0].send(None)
        return "done"

    mine.append(reenters())
    assert run(mine[0]) == "done"
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        mine[0].send(None)
    mine[0].close()
    assert counts(breaker) == (1, 0, 0)


@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_coroutine_that_is_given_up_gives_its_probe_back(how: str) -> None:
    breaker = half_open(permitted_probes=1)
    ended: list[str] = []

    @breaker
    async def waits() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            ended.append("ended")

    coroutine: Any = waits()
    coroutine.send(None)
    assert not breaker.allow()
    if how == "close":
        coroutine.close()
    del coroutine
    gc.collect()
    assert ended == ["ended"]
    assert breaker.allow()


def test_what_is_thrown_into_a_coroutine_counts_as_its_own() -> None:
    breaker = small()
    guarded = breaker(as_async(lambda: 1, waits=2))
    coroutine = guarded()
    coroutine.send(None)
    with pytest.raises(Failed):
        coroutine.throw(Failed())
    assert counts(breaker) == (1, 1, 0)
    unstarted = guarded()
    with pytest.raises(Failed):
        unstarted.throw(Failed())
    assert counts(breaker) == (1, 1, 0)


class Answers:
    """An awaitable, and its own iterator, that goes on after what is thrown into it."""

    def __await__(self) -> Answers:
        return self

    def __iter__(self) -> Answers:
        return self

    def __next__(self) -> str:
        raise StopIteration("end")

    def throw(self, *error: object) -> str:
        return "thrown"


def test_an_awaitable_that_answers_a_throw_before_it_ran_goes_on() -> None:
    breaker = small()
    coroutine = breaker.guard(lambda: Answers(), True)
    fresh = coroutine()
    assert fresh.throw(Failed()) == "thrown"
    assert fresh.throw(Failed()) == "thrown"
    assert run(fresh) == "end"
    assert counts(breaker) == (0, 0, 0)  # it never asked
    assert run(coroutine()) == "end"
    assert counts(breaker) == (1, 0, 0)


@pytest.mark.parametrize("by", ["clock", "await"])
@pytest.mark.parametrize("how", ["send", "throw", "close"])
def test_a_coroutine_that_is_about_to_start_cannot_be_started_or_ended(by: str, how: str) -> None:
    mine: list[Any] = []
    told: list[str] = []

    def again() -> None:
        if not mine:
            return
        act = getattr(mine[-1], how)
        try:
            act() if how == "close" else act(None if how == "send" else Failed())
        except ValueError as error:
            told.append(str(error))

    class Reentrant(Answers):
        def __await__(self) -> Answers:
            if by == "await":
                again()
            return self

    def clock() -> float:
        if by == "clock" and not told:
            again()
        return 0.0

    breaker = small(clock=clock, slow_call_seconds=1)
    mine.append(breaker.guard(Reentrant, True)())
    assert run(mine[0]) == "end"
    assert told == ["coroutine already executing"]
    assert counts(breaker) == (1, 0, 0)


def test_a_coroutine_that_cannot_start_is_over() -> None:
    breaker = small()
    coroutine = breaker.guard(lambda: 1, True)()
    with pytest.raises(TypeError, match="can't be used in 'await' expression"):
        coroutine.send(None)
    with pytest.raises(RuntimeError, match="cannot reuse"):
        coroutine.send(None)
    assert counts(breaker) == (0, 0, 0)


async def test_an_object_whose_call_is_async_is_guarded_as_a_coroutine_function() -> None:
    class Client:
        async def __call__(self, text: str) -> str:
            await asyncio.sleep(0)
            if not text:
                raise Failed
            return text

    breaker = small()
    guarded = breaker(Client())
    assert await guarded("answer") == "answer"
    with pytest.raises(Failed):
        await guarded("")
    assert counts(breaker) == (2, 1, 0)


def test_breakers_can_be_stacked_on_one_coroutine_function() -> None:
    inner, outer = small(), small()
    guarded = outer(inner(as_async(lambda: "answer")))
    assert run(guarded()) == "answer"
    assert counts(inner) == counts(outer) == (1, 0, 0)


def test_a_coroutine_tells_of_the_one_inside() -> None:
    coroutine = CircuitBreaker()(as_async(lambda: None))()
    assert coroutine.__qualname__.endswith("asynchronous")
    assert coroutine.cr_code.co_name == "asynchronous"
    assert not coroutine.cr_running
    coroutine.close()


# Blocks


async def test_blocks_of_tasks_that_interleave_are_kept_apart() -> None:
    clock = Clock()
    breaker = small(window_size=4, slow_call_seconds=2, clock=clock)
    first_in, first_out = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        with breaker:
            first_in.set()
            await first_out.wait()

    async def second() -> None:
        await first_in.wait()
        clock.now += 3
        with breaker:
            first_out.set()
            await asyncio.sleep(0)

    await asyncio.gather(first(), second())
    assert counts(breaker) == (2, 0, 1)


def test_blocks_nest_and_belong_to_their_breaker() -> None:
    one, two = small(), small()
    with pytest.raises(Failed), one, two, one:
        raise Failed
    assert counts(one) == (2, 2, 0)
    assert counts(two) == (1, 1, 0)


def test_a_block_left_in_another_context_still_ends() -> None:
    breaker = half_open(permitted_probes=1)
    elsewhere = contextvars.copy_context()
    elsewhere.run(breaker.__enter__)
    assert not breaker.allow()
    breaker.__exit__(None, None, None)
    assert breaker.state == "closed"


def test_a_block_that_is_never_left_gives_its_probe_back_after_probe_seconds() -> None:
    clock = Clock()
    breaker = half_open(permitted_probes=1, probe_seconds=30, clock=clock)

    def enter() -> None:
        breaker.__enter__()

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    del thread
    gc.collect()
    assert not breaker.allow()  # its call may be under way, in a copy of that context
    clock.now += 30
    assert breaker.allow()


def test_a_generator_that_runs_in_copies_of_a_context_holds_its_probe_until_it_ends() -> None:
    breaker = half_open(permitted_probes=1, slow_call_seconds=5)

    def stream() -> Iterator[int]:
        with breaker:
            yield 1
            yield 2

    generator = stream()

    def step() -> int | None:  # as a thread pool runs it
        return contextvars.copy_context().run(next, generator, None)

    assert step() == 1
    gc.collect()
    assert not breaker.allow()
    assert step() == 2
    assert not breaker.allow()
    assert step() is None
    assert breaker.state == "closed"


def blocks(breaker: CircuitBreaker) -> int:
    """How many there are, and what else holds the breaker: each block is one reference."""
    return sys.getrefcount(breaker)


@pytest.mark.parametrize("entered", [1, 300_000])
def test_a_context_goes_with_all_blocks_that_nobody_left(entered: int) -> None:
    breaker = small()

    def enter() -> None:
        for _ in range(entered):
            breaker.__enter__()

    context = contextvars.copy_context()
    before = blocks(breaker)
    context.run(enter)
    assert blocks(breaker) == before + entered
    del context
    assert blocks(breaker) == before


@pytest.mark.parametrize("under_way", [1, 2, 3, 10])
def test_blocks_left_elsewhere_do_not_gather_in_their_context(under_way: int) -> None:
    breaker = small()
    alive: list[contextvars.Context] = []
    most = 0

    def enter_and_leave_the_oldest_elsewhere() -> None:
        nonlocal most
        for _ in range(1_000):
            breaker.__enter__()
            alive.append(contextvars.copy_context())
            if len(alive) > under_way:
                alive.pop(0).run(breaker.__exit__, None, None, None)
            most = max(most, blocks(breaker) - before)

    before = blocks(breaker)
    contextvars.copy_context().run(enter_and_leave_the_oldest_elsewhere)
    assert under_way <= most <= 4 * (under_way + 1)
    assert breaker.metrics().calls == 2  # the window's
    alive.clear()
    assert blocks(breaker) == before


async def test_streams_that_nobody_reads_to_the_end_leave_no_block() -> None:
    breaker = small()

    async def stream() -> AsyncIterator[int]:
        async with breaker:
            yield 1
            yield 2

    async def read() -> None:
        async for _ in stream():
            break
        await asyncio.sleep(0)

    before = blocks(breaker)
    for _ in range(300):
        await read()
    for _ in range(10):
        await asyncio.sleep(0)
    assert blocks(breaker) - before <= 8


def test_what_a_pruned_block_lets_go_may_use_blocks() -> None:
    class Busy(Clock):
        def __del__(self) -> None:
            with other:
                told.append(blocks(other))

    other, told = small(), list[int]()

    def enter(number: int) -> None:
        one = small(clock=Busy())
        one.__enter__()
        other.__enter__()
        if number % 2:
            contextvars.copy_context().run(one.__exit__, None, None, None)
        contextvars.copy_context().run(other.__exit__, None, None, None)

    context = contextvars.copy_context()
    for number in range(40):
        context.run(enter, number)
    del context
    gc.collect()
    assert len(told) == 40


# Changes


def test_changes_are_told_after_they_happened() -> None:
    told: list[tuple[str, str, str]] = []
    breaker: CircuitBreaker = small(
        on_state_change=lambda old, new: told.append((old, new, breaker.state))
    )
    for _ in range(2):
        breaker.record_failure()
    assert told == [("closed", "open", "open")]


def test_what_a_callback_raises_breaks_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)

    def broken(old: str, new: str) -> None:
        raise LookupError

    breaker = small(on_state_change=broken, permitted_probes=1)
    for _ in range(2):
        with pytest.raises(Failed):
            breaker.call(fails(Failed()))
    breaker.half_open()
    assert breaker.call(lambda: "answer") == "answer"
    assert [hook.exc_type for hook in seen] == [LookupError] * 3


def test_a_callback_may_use_the_breaker() -> None:
    def again(old: str, new: str) -> None:
        if new == "open":
            breaker.reset()
            breaker.call(lambda: None)

    breaker = small(on_state_change=again)
    for _ in range(2):
        with pytest.raises(Failed):
            breaker.call(fails(Failed()))
    assert (breaker.state, counts(breaker)) == ("closed", (1, 0, 0))


def test_a_clock_that_fails_fails_no_call_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    times = iter([0.0])
    breaker = half_open(permitted_probes=1, clock=Clock(), slow_call_seconds=1)
    failing = CircuitBreaker(clock=lambda: next(times), slow_call_seconds=1)
    assert failing.call(lambda: "answer") == "answer"
    assert [hook.exc_type for hook in seen] == [StopIteration]
    with pytest.raises(StopIteration):
        failing.call(lambda: "never called")
    assert breaker.call(lambda: 1) == 1


# Late and many


def test_a_late_result_of_an_earlier_state_changes_nothing() -> None:
    breaker = small(permitted_probes=1)
    late = breaker(as_async(fails(Failed())))()
    late.send(None)
    breaker.open()
    breaker.half_open()
    with pytest.raises(Failed):
        late.send(None)
    assert (breaker.state, counts(breaker)) == ("half_open", (0, 0, 0))


def test_threads_share_one_breaker() -> None:
    breaker = CircuitBreaker(window_size=100_000, minimum_calls=100_000, permitted_probes=3)
    guarded = breaker(lambda number: 1 // (number % 4))

    def call(number: int) -> None:
        with contextlib.suppress(ZeroDivisionError):
            guarded(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(8_000)))
    assert counts(breaker) == (8_000, 2_000, 0)
    breaker.open()
    breaker.half_open()
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: breaker.allow(), range(100))) == 3


@settings(max_examples=200, deadline=None)
@given(
    percent=st.integers(1, 100),
    size=st.integers(1, 12),
    minimum=st.integers(1, 12),
    probes=st.integers(1, 4),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=80),
)
def test_a6_does_what_a_model_with_the_whole_history_does(
    percent: int, size: int, minimum: int, probes: int, steps: list[tuple[bool, int]]
) -> None:
    clock = Clock()
    minimum = min(minimum, size)
    breaker = CircuitBreaker(
        failure_rate_threshold=percent,
        window_size=size,
        minimum_calls=minimum,
        permitted_probes=probes,
        wait_seconds=3,
        clock=clock,
    )
    state, history, opened = "closed", list[bool](), 0.0
    for failed, wait in steps:
        clock.now += wait
        if state == "open" and clock.now >= opened + 3:
            state, history = "half_open", []
        try:
            breaker.call(fails(Failed()) if failed else lambda: None)
        except Failed:
            assert failed
        except CircuitOpenError:
            assert state == "open"
            continue
        assert state != "open"
        history.append(failed)
        seen, least = (history[-size:], minimum) if state == "closed" else (history, probes)
        if len(seen) >= least and sum(seen) * 100 >= len(seen) * percent:
            state, opened, history = "open", clock.now, []
        elif state == "half_open" and len(history) == probes:
            state, history = "closed", []
        assert breaker.state == state


# Lifetimes


def breaker_in_cycles() -> list[weakref.ref[Any]]:
    class Callback:
        breaker: object = None

        def __call__(self, old: str, new: str) -> None:
            pass

    callback = Callback()
    breaker = CircuitBreaker(on_state_change=callback)
    holds: list[object] = [callback]
    guarded = breaker(lambda: holds)
    holds.append(guarded)
    callback.breaker = guarded
    return [weakref.ref(one) for one in (callback, breaker, guarded)]


def test_what_a_breaker_holds_is_let_go() -> None:
    watched = breaker_in_cycles()
    gc.collect()
    assert [one() for one in watched] == [None, None, None]


@every_way
def test_calls_leave_no_reference_behind(way: Way) -> None:
    breaker = small(minimum_calls=2, failure_rate_threshold=100, window_size=50)
    result, error = object(), Failed()

    def calls() -> None:
        for _ in range(50):
            way(breaker, lambda: result)
        for _ in range(10):
            with contextlib.suppress(Failed):
                way(breaker, fails(error))
        error.__traceback__ = None

    calls()
    gc.collect()
    before = sys.getrefcount(result), sys.getrefcount(error), sys.getrefcount(breaker)
    calls()
    gc.collect()
    assert (sys.getrefcount(result), sys.getrefcount(error), sys.getrefcount(breaker)) == before


# Parameters


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"failure_rate_threshold": 0}, ValueError),
        ({"failure_rate_threshold": 101}, ValueError),
        ({"failure_rate_threshold": 50.5}, TypeError),
        ({"slow_call_rate_threshold": 0}, ValueError),
        ({"slow_call_seconds": 0}, ValueError),
        ({"slow_call_seconds": float("nan")}, ValueError),
        ({"slow_call_seconds": "1"}, TypeError),
        ({"window": "calls"}, ValueError),
        ({"window_size": 0}, ValueError),
        ({"window_size": 100_001}, ValueError),
        ({"window_size": 86_401, "window": "time"}, ValueError),
        ({"minimum_calls": 0}, ValueError),
        ({"minimum_calls": 101}, ValueError),
        ({"minimum_calls": True}, TypeError),
        ({"wait_seconds": 0}, ValueError),
        ({"wait_seconds": 3_601}, ValueError),
        ({"wait_seconds": None}, TypeError),
        ({"wait_factor": 11}, ValueError),
        ({"longest_wait_seconds": 4}, ValueError),
        ({"jitter_percent": -1}, ValueError),
        ({"permitted_probes": 0}, ValueError),
        ({"probe_seconds": 0}, ValueError),
        ({"half_open_seconds": -1}, ValueError),
        ({"recorded_exceptions": "Exception"}, TypeError),
        ({"recorded_exceptions": int}, TypeError),
        ({"ignored_exceptions": (ValueError, 5)}, TypeError),
        ({"name": None}, TypeError),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(
    given: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(given))):
        CircuitBreaker(**given)


@pytest.mark.parametrize("seconds", [-1, float("nan"), "1"])
def test_a_duration_that_is_none_is_refused(seconds: Any) -> None:
    breaker = CircuitBreaker()
    with pytest.raises((TypeError, ValueError), match="seconds"):
        breaker.record_success(seconds)
    assert counts(breaker) == (0, 0, 0)


def test_the_public_names_are_these() -> None:
    names = {"BreakerMetrics", "BreakerState", "CircuitBreaker", "CircuitOpenError"}
    assert names <= set(resilience.__all__)
    assert resilience.CircuitOpenError is CircuitOpenError
    assert resilience.CircuitBreaker is CircuitBreaker
