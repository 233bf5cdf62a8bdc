"""`@cached`: what is one call, what is kept for how long, and for whom."""

from __future__ import annotations

import asyncio
import collections
import copy
import functools
import gc
import inspect
import math
import pickle
import sys
import weakref
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel import _core
from sentinel.cache import LRUCache, cached
from support.computes import AsyncCompute, Compute, HandClock, block_until, settle, until, waiters

CROWD = 100


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def cache(clock: HandClock) -> LRUCache:
    return LRUCache(100, clock=clock)


def counting(function: Callable[..., object]) -> tuple[Any, list[object]]:
    """`function`, with its signature, and a list that grows with each call of it."""
    calls: list[object] = []
    signature = inspect.signature(function)

    def counted(*args: object, **kwargs: object) -> object:
        calls.append((args, kwargs))
        return function(*args, **kwargs)

    counted.__signature__ = signature  # type: ignore[attr-defined]
    return counted, calls


# What is one call


def two(a: object, b: object = 2) -> object:
    return (a, b)


def only(a: object, /, b: object = 2, *, c: object = 3) -> object:
    return (a, b, c)


def rest(a: object, *more: object, c: object = 3, **named: object) -> object:
    return (a, more, c, named)


def call(*args: object, **kwargs: object) -> tuple[tuple[object, ...], dict[str, object]]:
    return args, kwargs


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        (two, [call(1), call(a=1), call(1, 2), call(1, b=2), call(a=1, b=2), call(b=2, a=1)]),
        (two, [call(1), call(1.0), call(True)]),
        (only, [call(1), call(1, 2), call(1, b=2), call(1, c=3, b=2), call(1, b=2, c=3)]),
        (rest, [call(1), call(1, c=3), call(a=1)]),
        (rest, [call(1, 2, 3), call(1, 2, 3, c=3)]),
        (rest, [call(1, x=1, y=2), call(1, y=2, x=1), call(y=2, a=1, x=1, c=3)]),
        (two, [call([1, 2]), call([1, 2], 2)]),
        (two, [call({"x": [1], "y": {2}}), call(a={"y": {2}, "x": [1]})]),
        (two, [call(bytearray(b"x")), call(bytearray(b"x"))]),
        (two, [call((1, [2])), call((1, [2]))]),
    ],
)
def test_ways_to_write_a_call_are_one_call(
    function: Callable[..., object], calls: list[tuple[tuple[object, ...], dict[str, object]]]
) -> None:
    counted, made = counting(function)
    remembering = cached(60)(counted)
    values = [remembering(*args, **kwargs) for args, kwargs in calls]
    assert values == [function(*args, **kwargs) for args, kwargs in calls]
    assert len(made) == 1


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        (
            two,
            [call(1), call(2), call("1"), call(None), call((1,)), call([1]), call({1})],
        ),
        (two, [call([]), call({}), call(set()), call(bytearray()), call(b""), call("")]),
        (two, [call([1, 2]), call([2, 1]), call([[1], 2]), call(((1,), 2)), call(([1], 2))]),
        (two, [call({"x": 1}), call({"x": 2}), call({"y": 1}), call([("x", 1)])]),
        (two, [call(1, 3), call(3, 1), call(1, None)]),
        (rest, [call(1, 2), call(1, x=2), call(1, "x", 2), call(1, c=2), call(1, (2,))]),
        (rest, [call(1, x=1, y=2), call(1, x=2, y=1), call(1, x=1), call(1, "x", 1, "y", 2)]),
    ],
)
def test_calls_that_differ_are_different(
    function: Callable[..., object], calls: list[tuple[tuple[object, ...], dict[str, object]]]
) -> None:
    remembering = cached(60)(function)
    for _ in range(2):
        for args, kwargs in calls:
            assert remembering(*args, **kwargs) == function(*args, **kwargs)
    assert remembering.cache_info()[:2] == (len(calls), len(calls))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.lists(inner).map(tuple)
        | st.sets(st.integers())
        | st.binary().map(bytearray)
    ),
    max_leaves=8,
)


@given(
    args=st.lists(values, max_size=4),
    kwargs=st.dictionaries(st.sampled_from("bcxyz"), values, max_size=4),
    others=st.lists(values, max_size=4),
    data=st.data(),
)
def test_keys_are_equal_exactly_if_the_bound_arguments_are(
    args: list[object], kwargs: dict[str, object], others: list[object], data: st.DataObject
) -> None:
    def function(a: object = 0, /, b: object = 2, *x: object, c: object = 3, **y: object) -> None:
        raise AssertionError

    remembering = cached(60)(function)
    signature = inspect.signature(function)

    def bound(args: list[object], kwargs: dict[str, object]) -> object:
        try:
            found = signature.bind(*args, **kwargs)
        except TypeError:
            return None
        found.apply_defaults()
        return found.arguments

    def key(args: list[object], kwargs: dict[str, object]) -> Hashable:
        return remembering.key_of(*args, **kwargs)

    if bound(args, kwargs) is None:
        with pytest.raises(TypeError, match="does not take"):
            key(args, kwargs)
        return
    turned = dict(data.draw(st.permutations(list(kwargs.items()))))
    assert key(args, kwargs) == key(copy.deepcopy(args), copy.deepcopy(turned))
    if bound(others, kwargs) is not None:
        same = bound(args, kwargs) == bound(others, kwargs)
        assert (key(args, kwargs) == key(others, kwargs)) == same


def test_many_arguments_are_a_call_too() -> None:
    counted, made = counting(rest)
    remembering = cached(60)(counted)
    for _ in range(2):
        remembering(*range(100), **{f"n{number}": number for number in range(100)})
    assert len(made) == 1


@pytest.mark.parametrize(
    "args",
    [call(), call(1, 2, 3), call(1, d=1), call(1, a=1)],
    ids=["missing", "too many", "unknown", "twice"],
)
def test_a_call_the_function_does_not_take_raises_as_the_function_does(args: Any) -> None:
    remembering: Any = cached(60)(two)
    with pytest.raises(TypeError, match=r"two\(\)"):
        remembering(*args[0], **args[1])
    assert remembering.cache_info().misses == 0


class Circle(list[object]):
    pass


def holds_itself() -> list[object]:
    circle: list[object] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        (collections.deque(), "unhashable type: 'collections.deque'"),
        ([collections.deque()], "unhashable type"),
        ({"x": {"y": collections.deque()}}, "unhashable type"),
        (collections.OrderedDict(), "unhashable type"),
        (Circle(), "unhashable type"),
        (holds_itself(), "holds itself"),
    ],
    ids=["plain", "in a list", "in dicts", "derived dict", "derived list", "circle"],
)
@pytest.mark.parametrize("how", ["position", "name"])
def test_an_argument_that_can_be_no_key_is_named(argument: object, why: str, how: str) -> None:
    remembering = cached(60)(two)
    with pytest.raises(TypeError, match=f"the argument 'b' cannot be part of a cache key: .*{why}"):
        remembering(1, argument) if how == "position" else remembering(1, b=argument)


def test_a_key_function_makes_the_key() -> None:
    counted, made = counting(two)
    remembering = cached(60, key=lambda a, b=2: a.lower())(counted)
    assert remembering("X") == remembering("x", 5) == ("X", 2)
    assert len(made) == 1


def test_an_unhashable_key_is_refused() -> None:
    remembering = cached(60, key=cast(Any, lambda a: [a]))(two)
    with pytest.raises(TypeError, match="unhashable"):
        remembering(1)


# What is kept


def test_c7_a_value_is_kept_for_its_ttl(cache: LRUCache, clock: HandClock) -> None:
    counted, made = counting(two)
    remembering = cached(10, cache=cache)(counted)
    for passed, calls in ((0, 1), (9.9, 1), (0.2, 2)):
        clock.pass_(passed)
        remembering(1)
        assert len(made) == calls


def test_without_a_ttl_a_value_is_kept_for_ever(clock: HandClock) -> None:
    counted, made = counting(two)
    remembering = cached(None, cache=LRUCache(10, ttl=1, clock=clock))(counted)
    remembering(1)
    clock.pass_(1e7)
    remembering(1)
    assert len(made) == 1


def test_c7_none_is_a_value() -> None:
    counted, made = counting(lambda: None)
    remembering = cached(60)(counted)
    assert [remembering() for _ in range(3)] == [None] * 3
    assert len(made) == 1


def failing(cache: LRUCache, *, kept: bool) -> tuple[Callable[[], object], list[object]]:
    def fail() -> object:
        raise ValueError("no")

    counted, made = counting(fail)
    return cached(60, cache=cache, cache_errors=kept, error_ttl=5)(counted), made


@pytest.mark.parametrize(("kept", "calls"), [(False, 3), (True, 1)])
def test_c7_errors_are_kept_only_if_asked(cache: LRUCache, kept: bool, calls: int) -> None:
    fail, made = failing(cache, kept=kept)
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            fail()
    assert len(made) == calls


def test_c7_errors_are_kept_for_their_ttl(cache: LRUCache, clock: HandClock) -> None:
    fail, made = failing(cache, kept=True)
    for passed, calls in ((0, 1), (4.9, 1), (0.2, 2)):
        clock.pass_(passed)
        with pytest.raises(ValueError, match="no"):
            fail()
        assert len(made) == calls


def test_invalidate_forgets_one_call(cache: LRUCache) -> None:
    counted, made = counting(two)
    remembering = cached(60, cache=cache)(counted)
    remembering(1)
    remembering(2)
    assert remembering.invalidate(a=1)
    assert not remembering.invalidate(1, 2)
    remembering(1)
    remembering(2)
    assert len(made) == 3


def test_cache_clear_forgets_this_function_alone(cache: LRUCache) -> None:
    one, other = cached(60, cache=cache)(two), cached(60, cache=cache)(only)
    cache.set("plain", 1)
    one(1)
    other(1)
    one.cache_clear()
    assert one.cache_info()[:2] == (0, 0)
    one(1)
    other(1)
    assert (one.cache_info().misses, other.cache_info().hits) == (1, 1)
    assert cache.get("plain") == 1


def test_functions_of_one_cache_and_one_prefix_do_not_mix(cache: LRUCache) -> None:
    def adder(number: int) -> Callable[[int], int]:
        return cached(60, key_prefix="add:", cache=cache)(lambda n: n + number)

    assert [adder(number)(1) for number in range(3)] == [1, 2, 3]


def test_a_key_prefix_comes_before_keys_and_is_a_tag(cache: LRUCache) -> None:
    by_name = cached(60, key_prefix="user:", cache=cache, key=lambda a: a)(two)
    by_arguments = cached(60, key_prefix="user:", cache=cache)(only)
    by_name("ann")
    by_name(("bob", 1))
    by_arguments(1)
    assert cache.get("user:ann") == ("ann", 2)
    assert cache.get(("user:", ("bob", 1))) == (("bob", 1), 2)
    assert cache.invalidate(pattern="user:*") == 1
    assert cache.invalidate(tag="user:") == 2


def test_a_function_of_its_own_cache_tells_of_it() -> None:
    remembering = cached(60, key_prefix="p", cache_errors=True, error_ttl=5)(two)
    remembering(1)
    remembering(1)
    assert remembering.cache_info() == (1, 1, 16_384, 1)
    assert remembering.cache_parameters() == {
        "ttl": 60,
        "key_prefix": "p",
        "cache_errors": True,
        "error_ttl": 5,
        "maxsize": 16_384,
        "shared": False,
    }
    stats = remembering.cache.stats()
    assert (stats.hits, stats.misses, stats.computes, stats.errors) == (1, 1, 1, 0)


def test_a_function_may_call_itself() -> None:
    @cached(60)
    def fibonacci(number: int) -> int:
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    assert fibonacci(80) == 23_416_728_348_467_685
    assert fibonacci.cache_info()[:2] == (78, 81)


# One compute


@pytest.mark.parametrize("outcome", [7, None, ValueError("no")], ids=repr)
def test_c5_a_hundred_threads_call_once(outcome: object) -> None:
    compute = Compute(outcome)
    remembering = cached(60)(lambda key: compute())

    def ask(_: int) -> object:
        try:
            return remembering("key")
        except ValueError as error:
            return error

    with ThreadPoolExecutor(CROWD) as pool:
        asked = pool.map(ask, range(CROWD))
        assert compute.began.wait(60)
        block_until(lambda: waiters(remembering.cache._flights, "key") == CROWD - 1)
        compute.may_end.set()
        assert all(one is outcome for one in asked)
    assert compute.calls == 1


@pytest.mark.parametrize("outcome", [7, None, ValueError("no")], ids=repr)
@pytest.mark.parametrize("cancelled", [(), (0,), tuple(range(99))], ids=len)
async def test_c5_a_hundred_tasks_call_once_whoever_is_cancelled(
    outcome: object, cancelled: tuple[int, ...]
) -> None:
    compute = AsyncCompute(outcome)

    @cached(60)
    async def remembering(key: str) -> object:
        return await compute()

    async def ask() -> object:
        return await remembering("key")

    tasks = [asyncio.create_task(ask()) for _ in range(CROWD)]
    await compute.began.wait()
    for index in cancelled:
        tasks[index].cancel()
    compute.may_end.set()
    for index, one in enumerate(await settle(*tasks)):
        assert isinstance(one, asyncio.CancelledError) if index in cancelled else one is outcome
    assert compute.calls == 1


# Asynchronous functions


async def test_an_async_hit_is_awaited_as_a_coroutine_is() -> None:
    calls: list[object] = []

    async def function(value: object) -> object:
        calls.append(value)
        return value

    echo: Any = cached(60)(function)
    awkward: list[Any] = [None, (1, 2), StopIteration(3), ValueError(4), ()]
    for value in awkward:
        assert await echo(value) is value
        assert await echo(value) is value
        assert await asyncio.create_task(echo(value)) is value
        both = await asyncio.gather(echo(value), echo(value))
        assert both[0] is both[1] is value
        assert await asyncio.wait_for(echo(value), 60) is value
    assert calls == awkward
    hit = echo(None)
    assert await hit is None
    with pytest.raises(RuntimeError, match="already awaited"):
        await hit


def test_an_async_hit_runs_in_any_loop() -> None:
    @cached(60)
    async def echo(value: object) -> object:
        return value

    assert [asyncio.run(echo(5)) for _ in range(3)] == [5] * 3
    assert echo.cache_info()[:2] == (2, 1)


async def test_an_async_hit_can_be_thrown_into_and_closed() -> None:
    @cached(60)
    async def echo(value: object) -> object:
        return value

    await echo(1)
    ask: Any = echo
    hit = ask(1)
    with pytest.raises(KeyError):
        hit.throw(KeyError("x"))
    with pytest.raises(KeyError):
        ask(1).throw(KeyError, "x")
    with pytest.raises(TypeError, match="BaseException"):
        ask(1).throw(5)
    hit = ask(1)
    hit.close()
    with pytest.raises(RuntimeError):
        await hit
    with pytest.raises(StopIteration) as stopped:
        ask(1).send(None)
    assert stopped.value.value == 1


async def test_frameworks_see_a_coroutine_function() -> None:
    async def echo(value: object) -> object:
        return value

    class Called:
        async def __call__(self, value: object) -> object:
            return value

    for function in (echo, functools.partial(echo), Called()):
        remembering = cached(60)(function)
        assert asyncio.iscoroutinefunction(remembering)
        assert await remembering(1) == await remembering(1) == 1
    assert inspect.iscoroutinefunction(cached(60)(echo))
    assert not asyncio.iscoroutinefunction(cached(60)(two))


async def test_a_hit_that_nobody_awaits_is_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    @cached(60)
    async def echo(value: object) -> object:
        return value

    await echo(1)
    unawaited = echo(1)
    del unawaited
    gc.collect()
    assert not recwarn.list


# Methods


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0

    @cached(60)
    def price(self, article: str = "tea") -> str:
        self.calls += 1
        return f"{self.name} {article}"

    @cached(60)
    async def aprice(self, article: str) -> str:
        self.calls += 1
        return f"{self.name} {article}"

    @cached(60)
    def alone(self) -> str:
        self.calls += 1
        return self.name

    @cached(60)
    def any(*args: Any) -> str:
        args[0].calls += 1
        return str(args[0].name)

    @classmethod
    @cached(60)
    def kind(cls, size: int) -> str:
        return f"{cls.__name__} {size}"

    @staticmethod
    @cached(60)
    def double(number: int) -> int:
        return number * 2


class Never:
    """Equal to all of its kind, and without a hash."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.calls = 0

    def __eq__(self, other: object) -> bool:
        return True

    @cached(60)
    def ask(self) -> Never:
        self.calls += 1
        return self


def test_c7_a_method_counts_each_instance_for_itself() -> None:
    ann, bob = Shop("ann"), Shop("bob")
    for _ in range(3):
        assert (ann.price("tea"), bob.price("tea")) == ("ann tea", "bob tea")
        assert (ann.alone(), bob.alone(), ann.any(), bob.any()) == ("ann", "bob", "ann", "bob")
        assert ann.price(article="tea") == ann.price() == Shop.price(ann, "tea") == "ann tea"
        bound = ann.price
        assert bound("tea") == "ann tea"
    assert (ann.calls, bob.calls) == (3, 3)


async def test_c7_an_async_method_counts_each_instance_for_itself() -> None:
    ann, bob = Shop("ann"), Shop("bob")
    for _ in range(3):
        assert [await ann.aprice("tea"), await bob.aprice("tea")] == ["ann tea", "bob tea"]
    assert (ann.calls, bob.calls) == (1, 1)


def test_class_and_static_methods_are_functions() -> None:
    class Stall(Shop):
        pass

    shop, stall = cast(Any, Shop), cast(Any, Stall)
    assert [shop.kind(1), stall.kind(1), shop("x").kind(1)] == ["Shop 1", "Stall 1", "Shop 1"]
    assert shop("x").double(2) == shop.double(2) == 4
    assert shop.double.cache_info()[:2] == (1, 1)


def test_instances_that_are_equal_or_have_no_hash_count_by_identity() -> None:
    one, other = Never(), Never()
    assert one.ask() is one.ask() is one
    assert other.ask() is other
    assert (one.calls, other.calls) == (1, 1)


def test_a_method_does_not_keep_its_instance_alive_nor_what_was_kept_for_it() -> None:
    shop = Shop("ann")
    shop.price("tea")
    shop.price("jam")
    before = len(Shop.price.cache)
    alive = weakref.ref(shop)
    gc.disable()
    try:
        del shop
        assert alive() is None
        assert len(Shop.price.cache) == before - 2
    finally:
        gc.enable()


def test_a_new_instance_at_an_old_address_finds_nothing_old() -> None:
    for number in range(1_000):
        shop = Shop(f"shop {number}")
        assert shop.alone() == f"shop {number}"
        del shop


def test_instances_in_a_garbage_cycle_leave_nothing() -> None:
    @dataclass(eq=False)
    class Node:
        other: Node | None = None

        @cached(60)
        def ask(self) -> int:
            return 1

    for _ in range(100):
        one, two = Node(), Node()
        one.other, two.other = two, one
        one.ask()
        two.ask()
    del one, two
    gc.collect()
    assert len(Node.ask.cache) == 0


class Slotted:
    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls = 0

    @cached(60)
    def ask(self) -> int:
        self.calls += 1
        return self.calls


class Pair(tuple[int, int]):
    __slots__ = ()

    @cached(60)
    def ask(self, more: object = ()) -> object:
        return type(self)


class Swapped(Pair):
    __slots__ = ()


@dataclass(slots=True)
class Unhashable:
    number: int

    @cached(60)
    def ask(self) -> int:
        return self.number


def test_an_instance_without_weak_references_counts_by_identity_and_is_kept() -> None:
    slotted, other = Slotted(), Slotted()
    assert (slotted.ask(), slotted.ask(), other.ask(), other.calls) == (1, 1, 1, 1)
    alive = sys.getrefcount(slotted)
    assert Slotted.ask.invalidate(slotted)
    assert sys.getrefcount(slotted) == alive - 1
    Slotted.ask.cache_clear()


def test_instances_without_weak_references_that_are_equal_or_have_no_hash_do_not_mix() -> None:
    pair, swapped = Pair((1, 2)), Swapped((1, 2))
    assert (pair.ask(), swapped.ask()) == (Pair, Swapped)
    assert (pair.ask([1]), swapped.ask([1]), pair.ask([1])) == (Pair, Swapped, Pair)
    assert [Unhashable(number).ask() for number in (1, 2)] == [1, 2]
    for cached_method in (Pair.ask, Unhashable.ask):
        cached_method.cache_clear()


def test_an_instance_without_weak_references_in_a_cycle_with_its_function_is_collected() -> None:
    class Held:
        __slots__ = ("seen",)

        def __init__(self, seen: object) -> None:
            self.seen = seen

        @cached(None)
        def ask(self) -> int:
            return 1

    class Seen:
        pass

    held = Held(Seen())
    seen = weakref.ref(cast(Seen, held.seen))
    held.ask()
    del held, Held
    gc.collect()
    assert seen() is None


def test_instances_that_are_dropped_with_their_function_leave_no_references() -> None:
    def drop() -> None:
        class Stall:
            @cached(None)
            def ask(self) -> int:
                return 1

        stalls = [Stall() for _ in range(50)]
        assert sum(stall.ask() for stall in stalls) == 50

    def references() -> int:
        gc.collect()
        return sum(type(one) is weakref.ref for one in gc.get_objects())

    drop()
    before = references()
    for _ in range(5):
        drop()
    assert references() <= before + 5


def test_an_instance_that_a_finaliser_brought_back_leaves_no_name_to_another() -> None:
    saved: list[Any] = []

    def drop() -> None:
        class Stall:
            def __init__(self, number: int) -> None:
                self.me, self.number = self, number

            @cached(None)
            def ask(self) -> int:
                return self.number

            def __del__(self) -> None:
                if self.number == 0:
                    saved.append(self)

        Stall(0).ask()

    drop()
    gc.collect()  # clears the weak references within the garbage, then asks the finaliser
    stall = saved.pop()
    kind, address = type(stall), id(stall)
    assert stall.ask() == 0
    stall.number = -1
    del stall
    gc.collect()
    for number in range(1, 2_000):
        saved.append(kind(number))
        assert saved[-1].ask() == number
        if id(saved[-1]) == address:
            break


def test_a_dying_instance_in_a_shared_cache_takes_its_own_entries_only(cache: LRUCache) -> None:
    class Stall:
        @cached(60, cache=cache)
        def ask(self, number: int) -> int:
            return number

    one, other = Stall(), Stall()
    for number in range(3):
        one.ask(number)
        other.ask(number)
    cache.set("plain", 1)
    del one
    assert len(cache) == 4


def test_invalidate_of_a_method_takes_the_instance() -> None:
    shop = Shop("ann")
    shop.price("tea")
    assert Shop.price.invalidate(shop, "tea")
    shop.price("tea")
    assert shop.calls == 2


# As a function


def test_it_looks_like_the_function() -> None:
    def documented(a: int, b: int = 2) -> int:
        """Adds."""
        return a + b

    remembering = cached(60)(documented)
    assert remembering.__wrapped__ is documented
    assert cast(Any, remembering).__name__ == "documented"
    assert remembering.__doc__ == "Adds."
    assert remembering.__module__ == __name__
    assert inspect.signature(remembering) == inspect.signature(documented)
    assert "documented" in repr(remembering)
    assert callable(remembering)
    assert weakref.ref(remembering)() is remembering


@cached(60)
def of_the_module(number: int) -> int:
    return number + 1


def test_it_is_pickled_and_copied_by_name() -> None:
    assert pickle.loads(pickle.dumps(of_the_module)) is of_the_module
    assert copy.copy(of_the_module) is copy.deepcopy(of_the_module) is of_the_module


def test_what_has_no_name_is_described_and_not_pickled() -> None:
    power: Any = cached(60)(functools.partial(pow, 2))
    assert power(3) == 8
    assert repr(power) == f"<cached function {power.__wrapped__!r}>"
    with pytest.raises(TypeError, match="no name"):
        pickle.dumps(power)


def test_what_has_no_module_is_cached_too() -> None:
    upper: Any = cached(60)(str.upper)
    assert (upper("a"), upper("a"), upper.cache_info()[:2]) == ("A", "A", (1, 1))


def test_a_plain_function_that_makes_a_coroutine_is_refused_each_time() -> None:
    async def answer() -> int:
        return 1

    asked: Any = cached(60)(lambda: answer())
    for _ in range(2):
        with pytest.raises(TypeError, match="makes a coroutine"):
            asked()
    assert len(asked.cache) == 0


def test_what_is_called_with_no_signature_is_cached_by_its_arguments() -> None:
    remembering: Any = cached(60)(max)
    assert [remembering(1, 5, 3) for _ in range(2)] == [5, 5]
    assert remembering([1, 2], key=None) == 2
    assert remembering.cache_info()[:2] == (1, 2)


def test_a_cached_function_that_is_dropped_is_freed() -> None:
    def function(a: object) -> object:
        return a

    class Large:
        pass

    large = Large()
    seen: list[Any] = [weakref.ref(function), weakref.ref(large)]
    remembering = cached(60)(function)
    remembering(large)
    seen.append(weakref.ref(remembering.cache))
    del function, remembering, large
    gc.collect()
    assert [one() for one in seen] == [None] * 3


class Meddler:
    """A key part that asks the same function, and collects garbage, while it is compared."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        pair("from", "within")
        gc.collect(0)
        return isinstance(other, Meddler) and self.number == other.number


@cached(60)
def pair(one: object, other: object) -> tuple[object, object]:
    return one, other


def test_arguments_may_call_the_function_while_they_are_compared() -> None:
    for _ in range(3):
        for number in range(5):
            one, other = pair(Meddler(number), Meddler(number))
            assert isinstance(one, Meddler)
            assert isinstance(other, Meddler)
            assert (one.number, other.number) == (number, number)
    assert pair("from", "within") == ("from", "within")


def test_the_arguments_of_a_hit_are_not_kept() -> None:
    class Equal:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

    pair(Equal(), 5)
    late = Equal()
    gone = weakref.ref(late)
    pair(late, 5)
    del late
    assert gone() is None
    pair.cache_clear()


def test_the_collector_sees_whole_tuples_only() -> None:
    pair(1, 2)
    pair(1, 2)
    assert all(repr(one) for one in gc.get_objects() if type(one) is tuple and len(one) == 2)


def test_a_key_in_a_cycle_with_its_value_is_collected() -> None:
    class Node:
        def __init__(self) -> None:
            self.held: object = None

    keep = cached(60)(lambda one, other: one)
    keep(1, 2)
    keep(1, 2)  # its tuple will be used again
    gc.collect()  # and is no longer watched by the collector
    node = Node()
    node.held = keep
    gone = weakref.ref(node)
    keep(node, node)
    del node, keep
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("wrong", [None, 5, {}])
def test_the_type_itself_refuses_what_is_no_cache(wrong: object) -> None:
    with pytest.raises(TypeError):
        _core.CachedFunction(two, wrong)  # type: ignore[call-arg, arg-type]


def test_the_type_itself_is_unusable_before_init_and_inits_once() -> None:
    bare: Any = _core.CachedFunction.__new__(_core.CachedFunction)
    with pytest.raises(TypeError):
        bare(1)
    with pytest.raises(RuntimeError, match="__init__ was not called"):
        bare.key_of(1)
    remembering: Any = cached(60)(two)
    with pytest.raises(TypeError):
        remembering.__init__(two, LRUCache(1))


# Parameters


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ttl": 0}, "ttl must be above 0 seconds, not 0"),
        ({"ttl": -5}, "ttl .* -5"),
        ({"ttl": math.nan}, "ttl .* nan"),
        ({"ttl": 60, "error_ttl": 0}, "error_ttl .* 0"),
    ],
)
def test_c3_a_value_out_of_range_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        cached(**options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ttl": two}, "cached needs a time to live"),
        ({"ttl": "60"}, "ttl must be a number, not str"),
        ({"ttl": 60, "key_prefix": 5}, "key_prefix must be str, not int"),
        ({"ttl": 60, "cache": {}}, "cache must be an LRUCache, not dict"),
        ({"ttl": 60, "key": "x"}, "key must be callable, not str"),
    ],
)
def test_c3_a_value_of_another_type_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(TypeError, match=named):
        cached(**options)


def test_what_cannot_be_cached_is_refused() -> None:
    def generator() -> Any:
        yield 1

    async def async_generator() -> Any:
        yield 1

    wrong: Any
    for wrong in (generator, async_generator):
        with pytest.raises(TypeError, match="generator"):
            cached(60)(wrong)
    kind: Any
    for kind in (staticmethod, classmethod):
        with pytest.raises(TypeError, match=f"below @{kind.__name__}"):
            cached(60)(kind(two))
    with pytest.raises(TypeError, match="takes a function, not int"):
        cached(60)(cast(Any, 5))


async def test_a_compute_of_a_cached_function_is_not_kept_if_invalidated() -> None:
    compute = AsyncCompute("from old data")

    @cached(60)
    async def remembering(key: str) -> object:
        return await compute()

    async def ask() -> object:
        return await remembering("key")

    task = asyncio.create_task(ask())
    await compute.began.wait()
    assert not remembering.invalidate("key")
    compute.may_end.set()
    assert await settle(task) == ["from old data"]
    compute.outcome = "new"
    assert await ask() == "new"
    await until(lambda: compute.calls == 2)
