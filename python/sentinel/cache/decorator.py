"""`@cached`: a function that remembers what it gave, for functions and methods, sync and async."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import math
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from inspect import Parameter
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    NamedTuple,
    ParamSpec,
    TypedDict,
    TypeVar,
    cast,
    overload,
)

from sentinel import _core
from sentinel.cache.freshness import Plan
from sentinel.cache.frozen import freeze
from sentinel.cache.lru_cache import LRUCache

__all__ = ["CacheInfo", "Cached", "cached"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")

_OWN_ENTRIES = 16_384
_numbers = itertools.count(1)


class CacheInfo(NamedTuple):
    """What `functools.lru_cache` tells too, of this function's calls and its cache's entries."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


if TYPE_CHECKING:

    class Cached(Generic[P, R]):
        """What `cached` makes of a function. It is called, bound and inspected as that is."""

        cache: LRUCache
        __wrapped__: Callable[P, R]

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        @overload
        def __get__(self, instance: None, owner: type) -> Cached[P, R]: ...
        @overload
        def __get__(
            self: Cached[Concatenate[S, Q], R], instance: S, owner: type | None = None
        ) -> Callable[Q, R]: ...
        def __get__(self, instance: Any, owner: type | None = None) -> Any: ...
        def key_of(self, *args: P.args, **kwargs: P.kwargs) -> Hashable: ...
        def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
        def cache_info(self) -> CacheInfo: ...
        def cache_clear(self) -> None: ...
        def cache_parameters(self) -> dict[str, Any]: ...

else:
    Cached = _core.CachedFunction


def cached(
    ttl: float | None,
    *,
    key_prefix: str = "",
    cache_errors: bool = False,
    error_ttl: float = 60.0,
    cache: LRUCache | None = None,
    key: Callable[..., Hashable] | None = None,
) -> Callable[[Callable[P, R]], Cached[P, R]]:
    """A decorator: what the function gives for some arguments is kept for `ttl` seconds (None: for
    ever) and given again. Of those who ask for the same at the same time, one computes. None is a
    value. With `cache_errors`, what it raises is kept too, for `error_ttl` seconds.

    - Every way to write a call is one call: f(1), f(a=1), and f(1, b=2) if 2 is b's default.
      Arguments that are equal are the same, as in a dict: 1, 1.0 and True. Lists, dicts, sets and
      bytearrays count by what they hold; other things without a hash are a TypeError that names
      the argument.
    - `key(*args, **kwargs)` makes the key instead; `key_prefix` comes before it.
    - A method's `self` counts by identity. It is not kept alive, and what was kept for it goes with
      it (an instance that nothing weak can point to is kept until its entries go).
    - Each function has a cache of its own of 16,384 entries, or shares the `cache` given, where
      `key_prefix` is also a tag of its entries: `cache.invalidate(tag=...)`.

    The result has `cache_info()`, `cache_clear()`, `invalidate(*args, **kwargs)` for the call with
    those arguments, `cache_parameters()`, `key_of(...)`, `cache` and `__wrapped__`. ValueError for
    what is out of range; TypeError for a generator function, whose result is used up by one caller.
    """
    if callable(ttl):
        raise TypeError("cached needs a time to live: @cached(60), or @cached(None)")
    if not isinstance(key_prefix, str):
        raise TypeError(f"key_prefix must be str, not {type(key_prefix).__name__}")
    if cache is not None and not isinstance(cache, LRUCache):
        raise TypeError(f"cache must be an LRUCache, not {type(cache).__name__}")
    if key is not None and not callable(key):
        raise TypeError(f"key must be callable, not {type(key).__name__}")
    tags = (key_prefix,) if key_prefix else ()
    seconds = math.inf if ttl is None else ttl  # None would be the default of a shared cache
    plan = Plan(seconds, tags, cache_errors=bool(cache_errors), error_ttl=error_ttl)

    def decorate(function: Callable[P, R]) -> Cached[P, R]:
        home = _Home(function, plan, key_prefix, cache, key)
        made: Any = home.make()
        _dress(made, home)
        return cast("Cached[P, R]", made)

    return decorate


class _Home:
    """What a cached function needs beside the way of a hit."""

    def __init__(
        self,
        function: Callable[..., Any],
        plan: Plan,
        prefix: str,
        cache: LRUCache | None,
        key: Callable[..., Hashable] | None,
    ) -> None:
        _refuse_what_cannot_be_cached(function)
        self.function = function
        self.key = key
        self.prefix = prefix
        self.asynchronous = _is_coroutine_function(function)
        self.shared = cache is not None
        self.cache = LRUCache(_OWN_ENTRIES, ttl=plan.ttl) if cache is None else cache
        self.name_space = _unique_name(function, prefix)
        tags = (*plan.tags, self.name_space) if self.shared else plan.tags
        self._plan = replace(plan, tags=tags)

    def make(self) -> _core.CachedFunction:
        return _core.CachedFunction(
            self.function,
            self.cache,
            miss=self._amiss if self.asynchronous else self._miss,
            freeze=freeze,
            gone=self.cache.invalidate_tag,
            key=self.key,
            name_space=self.name_space,
            prefix=self.prefix,
            shared=self.shared,
            asynchronous=self.asynchronous,
            **_shape_of(self.function),
        )

    def clear(self) -> None:
        if self.shared:
            self.cache.invalidate_tag(self.name_space)
        else:
            self.cache.clear()

    def parameters(self) -> dict[str, Any]:
        return {
            "ttl": None if self._plan.ttl == math.inf else self._plan.ttl,
            "key_prefix": self.prefix,
            "cache_errors": self._plan.cache_errors,
            "error_ttl": self._plan.error_ttl,
            "maxsize": self.cache.max_entries,
            "shared": self.shared,
        }

    def _miss(
        self, key: Hashable, args: tuple[Any, ...], kwargs: dict[str, Any], token: str | None
    ) -> object:
        compute = functools.partial(self.function, *args, **kwargs)
        return self.cache._compute_missing(key, compute, self._plan_for(token))

    def _amiss(
        self, key: Hashable, args: tuple[Any, ...], kwargs: dict[str, Any], token: str | None
    ) -> Awaitable[object]:
        compute = functools.partial(self.function, *args, **kwargs)
        return self.cache._acompute_missing(key, compute, self._plan_for(token))

    def _plan_for(self, token: str | None) -> Plan:
        """An instance's token is a tag of its entries: with that they go when it dies."""
        return self._plan if token is None else replace(self._plan, tags=(*self._plan.tags, token))


def _dress(made: Any, home: _Home) -> None:
    """Gives the cached function its methods, and the looks of the function itself."""

    def cache_info() -> CacheInfo:
        return CacheInfo(made.hits, made.misses, home.cache.max_entries, len(home.cache))

    def cache_clear() -> None:
        home.clear()
        made.reset_counts()

    def invalidate(*args: Any, **kwargs: Any) -> bool:
        return home.cache.delete(made.key_of(*args, **kwargs))

    functools.update_wrapper(made, home.function)
    made.cache = home.cache
    made.cache_info, made.cache_clear = cache_info, cache_clear
    made.invalidate, made.cache_parameters = invalidate, home.parameters
    for name in ("__code__", "__defaults__", "__kwdefaults__"):  # what inspect knows functions by
        if hasattr(home.function, name):
            setattr(made, name, getattr(home.function, name))
    if home.asynchronous:
        _mark_as_coroutine_function(made)


def _mark_as_coroutine_function(made: Any) -> None:
    """So that frameworks await it: a wrapped object with an async `__call__` has no code to ask."""
    mark = getattr(inspect, "markcoroutinefunction", None)  # Python 3.12
    if mark is not None:
        mark(made)
    else:
        made._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)


def _refuse_what_cannot_be_cached(function: Callable[..., Any]) -> None:
    if isinstance(function, staticmethod | classmethod | property):
        kind = type(function).__name__
        raise TypeError(f"cached goes below @{kind}, on the function itself")
    if not callable(function):
        raise TypeError(f"cached takes a function, not {type(function).__name__}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("a generator function cannot be cached: one caller uses its result up")


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    if asyncio.iscoroutinefunction(function):
        return True
    return inspect.iscoroutinefunction(type(function).__call__)


def _unique_name(function: Callable[..., Any], prefix: str) -> str:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{prefix}{module}.{name}#{next(_numbers)}"


class _Shape(TypedDict):
    names: tuple[str, ...]
    defaults: tuple[tuple[object] | None, ...]
    positional: int
    by_position_only: int
    extra_positional: bool
    extra_keywords: bool


def _shape_of(function: Callable[..., Any]) -> _Shape:
    """The parameters of a function; of one that does not tell, any."""
    try:
        parameters = list(inspect.signature(function, follow_wrapped=False).parameters.values())
    except (TypeError, ValueError):
        return _Shape(
            names=(),
            defaults=(),
            positional=0,
            by_position_only=0,
            extra_positional=True,
            extra_keywords=True,
        )
    kinds = [parameter.kind for parameter in parameters]
    extra = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    named = [parameter for parameter in parameters if parameter.kind not in extra]
    only = kinds.count(Parameter.POSITIONAL_ONLY)
    return _Shape(
        names=tuple(one.name for one in named),
        defaults=tuple(None if one.default is one.empty else (one.default,) for one in named),
        positional=only + kinds.count(Parameter.POSITIONAL_OR_KEYWORD),
        by_position_only=only,
        extra_positional=Parameter.VAR_POSITIONAL in kinds,
        extra_keywords=Parameter.VAR_KEYWORD in kinds,
    )
