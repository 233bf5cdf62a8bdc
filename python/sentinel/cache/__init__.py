"""A cache of Python objects in C++, and what a program does with one. Standard library only.

cache = LRUCache(max_entries=10_000, ttl=300)
answer = cache.get_or_compute("user-7", load)          # one load for all who ask meanwhile
answer = await cache.aget_or_compute("user-7", fetch)

@cached(60)
def price(article: str) -> float: ...
"""

from __future__ import annotations

from sentinel.cache.decorator import Cached, CacheInfo, cached
from sentinel.cache.lru_cache import LRUCache
from sentinel.cache.statistics import CacheStatistics
from sentinel.cache.warm_up import WarmUpReport

__all__ = ["CacheInfo", "CacheStatistics", "Cached", "LRUCache", "WarmUpReport", "cached"]
