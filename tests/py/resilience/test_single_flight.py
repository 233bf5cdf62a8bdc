"""`SingleFlight`: one compute for all who wait, whatever ends it and whoever is cancelled."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.resilience import SingleFlight, flight
from support.computes import AsyncCompute, Compute, block_until, settle, until, waiters

CROWD = 100


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight, "LOOK_SECONDS", 0.005)


# Threads


@pytest.mark.parametrize("outcome", [7, None, ValueError("no")], ids=repr)
def test_c5_a_hundred_threads_share_one_compute_and_its_outcome(outcome: object) -> None:
    flights, compute = SingleFlight(), Compute(outcome)

    def ask(_: int) -> object:
        try:
            return flights.do("key", compute)
        except BaseException as error:
            return error

    with ThreadPoolExecutor(CROWD) as pool:
        asked = pool.map(ask, range(CROWD))
        assert compute.began.wait(60)
        block_until(lambda: waiters(flights, "key") == CROWD - 1)
        compute.may_end.set()
        assert all(one is outcome for one in asked)
    assert compute.calls == 1
    assert len(flights) == 0


def test_nothing_is_remembered() -> None:
    flights = SingleFlight()
    assert [flights.do("key", lambda n=n: n) for n in range(3)] == [0, 1, 2]  # type: ignore[misc]


def test_keys_do_not_wait_for_each_other() -> None:
    flights = SingleFlight()
    assert flights.do("a", lambda: flights.do("b", lambda: 2)) == 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_thread_whose_compute_is_interrupted_hands_it_over(kind: type[BaseException]) -> None:
    flights, first, second = SingleFlight(), Compute(kind()), Compute(8)
    second.may_end.set()
    with ThreadPoolExecutor(2) as pool:
        interrupted = pool.submit(flights.do, "key", first)
        assert first.began.wait(60)
        waiting = pool.submit(flights.do, "key", second)
        block_until(lambda: waiters(flights, "key") == 1)
        first.may_end.set()
        assert isinstance(interrupted.exception(60), kind)
        assert waiting.result(60) == 8


def test_a_compute_that_asks_for_itself_is_refused() -> None:
    flights = SingleFlight()
    with pytest.raises(RuntimeError, match="'key' asks for itself"):
        flights.do("key", lambda: flights.do("key", int))
    assert len(flights) == 0


def test_a_compute_that_asks_for_itself_through_a_loop_is_refused() -> None:
    flights = SingleFlight()

    async def fetch() -> int:
        return 1

    with pytest.raises(RuntimeError, match="asks for itself"):
        flights.do("key", lambda: asyncio.run(flights.ado("key", fetch)))


def test_do_of_a_coroutine_function_is_refused() -> None:
    async def fetch() -> int:
        return 1

    with pytest.raises(TypeError, match="call ado"):
        _ = SingleFlight().do("key", fetch)


def test_an_unhashable_key_is_refused() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        SingleFlight().do([], int)  # type: ignore[arg-type]


def test_beyond_the_bound_a_call_computes_for_itself() -> None:
    flights, compute = SingleFlight(max_flights=1), Compute()
    with ThreadPoolExecutor(1) as pool:
        shared = pool.submit(flights.do, "key", compute)
        assert compute.began.wait(60)
        assert flights.do("other", lambda: len(flights)) == 1
        compute.may_end.set()
        assert shared.result(60) == 7


@pytest.mark.parametrize("bound", [0, -1, 10**9 + 1])
def test_c3_a_bound_out_of_range_is_refused(bound: int) -> None:
    with pytest.raises(ValueError, match=f"max_flights must be .*, not {bound}"):
        SingleFlight(max_flights=bound)


def test_a_bound_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="max_flights must be int, not float"):
        SingleFlight(max_flights=1.5)  # type: ignore[arg-type]


def test_after_forget_the_next_call_computes_anew() -> None:
    flights, compute = SingleFlight(), Compute()
    with ThreadPoolExecutor(2) as pool:
        old = pool.submit(flights.do, "key", compute)
        assert compute.began.wait(60)
        assert flights.forget("key")
        assert not flights.forget("key")
        assert flights.do("key", lambda: 8) == 8
        compute.may_end.set()
        assert old.result(60) == 7


def test_the_end_of_a_forgotten_compute_leaves_the_new_one() -> None:
    flights, old, new = SingleFlight(), Compute(1), Compute(2)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(flights.do, "key", old)
        assert old.began.wait(60)
        flights.forget("key")
        second = pool.submit(flights.do, "key", new)
        assert new.began.wait(60)
        old.may_end.set()
        assert first.result(60) == 1
        assert "key" in flights
        joined = pool.submit(flights.do, "key", int)
        block_until(lambda: waiters(flights, "key") == 1)
        new.may_end.set()
        assert (second.result(60), joined.result(60)) == (2, 2)


class Asking:
    """A key whose comparison asks the same flights."""

    def __init__(self, flights: SingleFlight) -> None:
        self._flights = flights

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return self._flights.do("within", lambda: self is other)


def test_a_key_may_ask_while_it_is_compared() -> None:
    flights = SingleFlight()
    assert flights.do(Asking(flights), lambda: flights.do(Asking(flights), lambda: 5)) == 5


def test_a_shared_error_keeps_neither_frames_nor_itself_alive() -> None:
    class Large:
        pass

    class Wrong(Exception):
        pass

    flights = SingleFlight()

    def compute() -> None:
        large = Large()
        seen.append(weakref.ref(large))
        error = Wrong()
        seen.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    seen: list[weakref.ref[object]] = []
    gc.disable()
    try:
        with suppress(Wrong):
            flights.do("key", compute)
        assert [one() for one in seen] == [None, None]
    finally:
        gc.enable()


# Tasks


@pytest.mark.parametrize("outcome", [7, None, ValueError("no")], ids=repr)
async def test_c5_a_hundred_tasks_share_one_compute_and_its_outcome(outcome: object) -> None:
    flights, compute = SingleFlight(), AsyncCompute(outcome)
    tasks = [asyncio.create_task(flights.ado("key", compute)) for _ in range(CROWD)]
    await compute.began.wait()
    compute.may_end.set()
    assert all(one is outcome for one in await settle(*tasks))
    assert compute.calls == 1
    assert len(flights) == 0


@pytest.mark.parametrize("outcome", [7, ValueError("no")], ids=repr)
@pytest.mark.parametrize("cancelled", [(0,), (50,), (0, 1, 2), tuple(range(99))], ids=len)
@pytest.mark.parametrize("began", [False, True])
async def test_c5_who_is_cancelled_does_not_cancel_the_others(
    outcome: object, cancelled: tuple[int, ...], began: bool
) -> None:
    flights, compute = SingleFlight(), AsyncCompute(outcome)
    tasks = [asyncio.create_task(flights.ado("key", compute)) for _ in range(CROWD)]
    await (compute.began.wait() if began else asyncio.sleep(0))
    for index in cancelled:
        tasks[index].cancel()
    compute.may_end.set()
    outcomes = await settle(*tasks)
    for index, one in enumerate(outcomes):
        assert isinstance(one, asyncio.CancelledError) if index in cancelled else one is outcome
    assert compute.calls == 1


@pytest.mark.parametrize("step", range(10))
async def test_c5_the_first_may_be_cancelled_at_any_step(step: int) -> None:
    flights = SingleFlight()
    calls = 0

    async def compute() -> int:
        nonlocal calls
        calls += 1
        for _ in range(12):
            await asyncio.sleep(0)
        return calls

    first = asyncio.create_task(flights.ado("key", compute))
    for _ in range(step):
        await asyncio.sleep(0)
    others = [asyncio.create_task(flights.ado("key", compute)) for _ in range(5)]
    first.cancel()
    assert set(await settle(*others)) == {1}
    await settle(first)
    assert (calls, len(flights)) == (1, 0)


async def test_a_compute_goes_on_when_all_who_wait_are_gone() -> None:
    flights, compute = SingleFlight(), AsyncCompute()
    gone = asyncio.create_task(flights.ado("key", compute))
    await compute.began.wait()
    gone.cancel()
    await settle(gone)
    gc.collect()
    late = asyncio.create_task(flights.ado("key", compute))
    await until(lambda: waiters(flights, "key") == 1)
    compute.may_end.set()
    assert await settle(late) == [7]
    assert compute.calls == 1


async def test_who_leaves_is_not_kept() -> None:
    flights, compute = SingleFlight(), AsyncCompute()
    first = asyncio.create_task(flights.ado("key", compute))
    await compute.began.wait()
    for _ in range(10):
        gone = asyncio.create_task(flights.ado("key", compute))
        await until(lambda: waiters(flights, "key") == 2)
        gone.cancel()
        await settle(gone)
    assert waiters(flights, "key") == 1
    compute.may_end.set()
    assert await settle(first) == [7]


@pytest.mark.parametrize("began", [False, True])
async def test_a_compute_that_is_cancelled_from_outside_is_handed_over(began: bool) -> None:
    flights, first, second = SingleFlight(), AsyncCompute(), AsyncCompute(8)
    second.may_end.set()
    one = asyncio.create_task(flights.ado("key", first))
    other = asyncio.create_task(flights.ado("key", second))
    await (first.began.wait() if began else asyncio.sleep(0))
    (task,) = flights._tasks
    task.cancel()
    first.may_end.set()
    got = await settle(one, other)
    assert got in ([7, 7], [8, 8])  # by who was woken first
    assert second.calls + first.calls == (2 if began else 1)
    assert not flights._tasks


async def test_a_compute_that_is_cancelled_from_within_fails_once_for_all() -> None:
    flights, calls = SingleFlight(), 0

    async def compute() -> int:
        nonlocal calls
        calls += 1
        inner = asyncio.create_task(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(inner.cancel)
        await inner
        return 1

    tasks = [asyncio.create_task(flights.ado("key", compute)) for _ in range(10)]
    outcomes = await settle(*tasks)
    assert all(isinstance(one, asyncio.CancelledError) for one in outcomes)
    assert (calls, len(flights)) == (1, 0)


async def test_a_task_whose_compute_asks_for_itself_is_refused() -> None:
    flights = SingleFlight()

    async def compute() -> int:
        return await flights.ado("key", compute)

    with pytest.raises(RuntimeError, match="asks for itself"):
        await flights.ado("key", compute)


async def test_a_coroutine_function_that_raises_at_once_fails_for_all() -> None:
    def compute() -> asyncio.Future[int]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await SingleFlight().ado("key", compute)


# Threads and tasks


async def test_a_thread_and_a_task_share_one_compute() -> None:
    flights, compute = SingleFlight(), AsyncCompute()
    task = asyncio.create_task(flights.ado("key", compute))
    await compute.began.wait()
    thread = asyncio.create_task(asyncio.to_thread(flights.do, "key", int))
    await until(lambda: waiters(flights, "key") == 2)
    compute.may_end.set()
    assert await settle(task, thread) == [7, 7]


@pytest.mark.parametrize("outcome", [7, ValueError("no")], ids=repr)
async def test_a_task_waits_for_a_thread_and_the_loop_goes_on(outcome: object) -> None:
    flights, compute = SingleFlight(), Compute(outcome)
    thread = asyncio.create_task(asyncio.to_thread(flights.do, "key", compute))
    await until(compute.began.is_set)
    tasks = [asyncio.create_task(flights.ado("key", AsyncCompute())) for _ in range(10)]
    await until(lambda: waiters(flights, "key") == 10)
    tasks[0].cancel()
    await until(lambda: waiters(flights, "key") == 9)
    compute.may_end.set()
    assert (await settle(thread, *tasks))[2:] == [outcome] * 9


async def test_do_on_the_loop_that_computes_is_refused() -> None:
    flights, compute = SingleFlight(), AsyncCompute()
    task = asyncio.create_task(flights.ado("key", compute))
    await compute.began.wait()
    with pytest.raises(RuntimeError, match="would stop the loop"):
        flights.do("key", int)
    compute.may_end.set()
    assert await settle(task) == [7]


def test_event_loops_share_one_compute() -> None:
    flights, loops = SingleFlight(), 8
    calls: list[int] = []
    all_wait = threading.Event()

    async def compute() -> int:
        calls.append(1)
        await asyncio.to_thread(all_wait.wait, 60)
        return 7

    def ask(_: int) -> list[int]:
        async def main() -> list[int]:
            return await asyncio.gather(*(flights.ado("key", compute) for _ in range(10)))

        return asyncio.run(main())

    with ThreadPoolExecutor(loops) as pool:
        asked = [pool.submit(ask, index) for index in range(loops)]
        block_until(lambda: "key" in flights and waiters(flights, "key") == 10 * loops)
        all_wait.set()
        assert [one.result(60) for one in asked] == [[7] * 10] * loops
    assert len(calls) == 1


@pytest.mark.parametrize("how", ["thread", "task"])
def test_when_a_loop_is_closed_under_its_compute_another_begins_anew(how: str) -> None:
    flights = SingleFlight()
    compute_began = False

    async def never() -> int:
        nonlocal compute_began
        compute_began = True
        await asyncio.Event().wait()
        return 1

    async def second() -> int:
        return 2

    def ask() -> int:
        if how == "thread":
            return flights.do("key", lambda: 2)
        return asyncio.run(flights.ado("key", second))

    loop = asyncio.new_event_loop()
    first = loop.create_task(flights.ado("key", never))
    loop.run_until_complete(until(lambda: compute_began))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask)
        block_until(lambda: waiters(flights, "key") == 2)
        lost = list(asyncio.all_tasks(loop))
        loop.close()
        assert waiting.result(60) == 2
    assert "key" not in flights
    for task in (*lost, first):  # what asyncio says of tasks that are dropped is not the point here
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    flights._tasks.clear()


def test_what_closed_loops_left_is_dropped() -> None:
    flights = SingleFlight(max_flights=80)
    for number in range(200):
        loop = asyncio.new_event_loop()
        compute = AsyncCompute()
        waiting = loop.create_task(flights.ado(number, compute))
        loop.run_until_complete(until(compute.began.is_set))
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
        del task, waiting
    assert len(flights) <= 65
    assert len(flights._tasks) <= 65
    assert asyncio.run(flights.ado("key", AsyncAnswer(3))) == 3


class AsyncAnswer:
    def __init__(self, answer: int) -> None:
        self.answer = answer

    async def __call__(self) -> int:
        return self.answer


class Failing:
    """A key whose comparison fails once if told to."""

    fails = False

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        if Failing.fails:
            Failing.fails = False
            raise ValueError("no comparison")
        return isinstance(other, Failing) and self.name == other.name


def test_a_flight_whose_end_could_not_be_noted_is_not_waited_for() -> None:
    flights, slow = SingleFlight(), Compute()
    one, other = Failing("one"), Failing("other")

    def fail() -> int:
        Failing.fails = True
        return 1

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(flights.do, one, slow)
        assert slow.began.wait(60)
        with pytest.raises(ValueError, match="no comparison"):
            flights.do(other, fail)
        slow.may_end.set()
        assert first.result(60) == 7
    assert other not in flights
    assert flights.do(other, lambda: 2) == 2
    assert len(flights) == 0


def test_after_asyncio_run_was_left_early_the_next_begins_anew() -> None:
    flights = SingleFlight()

    async def leave_early() -> None:
        compute = AsyncCompute()
        task = asyncio.create_task(flights.ado("key", compute))
        await compute.began.wait()
        del task

    asyncio.run(leave_early())
    assert (len(flights), len(flights._tasks)) == (0, 0)
    assert flights.do("key", lambda: 3) == 3


@settings(max_examples=15, deadline=None)
@given(
    plan=st.lists(
        st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), min_size=1, max_size=40
    )
)
def test_under_any_mix_each_caller_gets_an_outcome_of_its_own_key(
    plan: list[tuple[str, bool, bool]],
) -> None:
    flights = SingleFlight()

    async def ask(key: str, fails: bool, in_thread: bool) -> object:
        def compute() -> str:
            if fails:
                raise KeyError(key)
            return key

        async def acompute() -> str:
            await asyncio.sleep(0)
            return compute()

        try:
            if in_thread:
                return await asyncio.to_thread(flights.do, key, compute)
            return await flights.ado(key, acompute)
        except KeyError as error:
            return error.args[0]

    async def main() -> None:
        asked = await asyncio.gather(*(ask(*one) for one in plan))
        assert asked == [key for key, _, _ in plan]

    asyncio.run(main())
    assert (len(flights), len(flights._tasks)) == (0, 0)
