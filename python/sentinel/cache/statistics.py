"""What a cache has done, as one value that reads well in a terminal and in a notebook."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape

__all__ = ["CacheStatistics"]

_UNITS = ((1e-3, "us", 1e6), (1.0, "ms", 1e3), (120.0, "s", 1.0), (7_200.0, "min", 1 / 60))


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """Counts since the cache was made; what it holds now; its bounds.

    `hits` are fresh values served, `stale_hits` those served beyond their time to live, `misses`
    what was not there. `evictions` made room, `expirations` were past their time. `computes` and
    `errors` (those of them that raised) are those of `get_or_compute`, `cached` and `warm_up`.
    """

    hits: int
    misses: int
    stale_hits: int
    evictions: int
    expirations: int
    computes: int
    errors: int
    compute_seconds: float
    entries: int
    bytes: int
    max_entries: int | None
    max_bytes: int | None
    policy: str

    @property
    def hit_ratio(self) -> float:
        """Served from the cache, of all that was asked; 0 before anything was."""
        served = self.hits + self.stale_hits
        asked = served + self.misses
        return served / asked if asked else 0.0

    @property
    def mean_compute_seconds(self) -> float:
        """What a compute took on average; 0 before the first."""
        return self.compute_seconds / self.computes if self.computes else 0.0

    @property
    def saved_seconds(self) -> float:
        """An estimate of the computing saved: what was served, at the mean of what was computed."""
        return (self.hits + self.stale_hits) * self.mean_compute_seconds

    def as_dict(self) -> dict[str, int | float | str | None]:
        """All of it, what is derived too, ready for JSON."""
        derived = {
            name: getattr(self, name)
            for name in ("hit_ratio", "mean_compute_seconds", "saved_seconds")
        }
        return asdict(self) | derived

    def __repr__(self) -> str:
        return f"<CacheStatistics: {'; '.join(f'{name} {text}' for name, text in self._rows())}>"

    def _repr_html_(self) -> str:
        bars = [("served from the cache", self.hit_ratio)]
        if self.max_entries:
            bars.append(("entries in use", self.entries / self.max_entries))
        if self.max_bytes:
            bars.append(("bytes in use", self.bytes / self.max_bytes))
        rows = "".join(_row(name, text) for name, text in self._rows())
        return (
            '<div style="display:inline-block;font-family:system-ui,sans-serif;font-size:13px">'
            f"<strong>Cache, {escape(self.policy)}</strong>"
            f"{''.join(_bar(name, share) for name, share in bars)}"
            f'<table style="border-collapse:collapse;margin-top:6px">{rows}</table></div>'
        )

    def _rows(self) -> list[tuple[str, str]]:
        return [
            ("hit ratio", f"{self.hit_ratio:.1%}"),
            ("hits", f"{self.hits:,}"),
            ("stale hits", f"{self.stale_hits:,}"),
            ("misses", f"{self.misses:,}"),
            ("entries", _of(f"{self.entries:,}", self.max_entries)),
            ("bytes", _of(f"{self.bytes:,}", self.max_bytes)),
            ("evictions", f"{self.evictions:,}"),
            ("expirations", f"{self.expirations:,}"),
            ("computes", f"{self.computes:,}"),
            ("errors", f"{self.errors:,}"),
            ("mean compute", written_seconds(self.mean_compute_seconds)),
            ("saved", written_seconds(self.saved_seconds)),
        ]


def written_seconds(seconds: float) -> str:
    """As a person would say it: 1.5 us, 619 ms, 2.4 h."""
    for limit, unit, factor in _UNITS:
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds / 3600:,.1f} h"


def _of(count: str, bound: int | None) -> str:
    return count if bound is None else f"{count} of {bound:,}"


def _row(name: str, text: str) -> str:
    return (
        f'<tr><td style="padding:1px 12px 1px 0;text-align:left">{escape(name)}</td>'
        f'<td style="padding:1px 0;text-align:right">{escape(text)}</td></tr>'
    )


def _bar(name: str, share: float) -> str:
    percent = min(100.0, max(0.0, share * 100))
    return (
        f'<div style="margin-top:4px">{escape(name)}: {percent:.1f} %'
        '<div style="width:260px;height:8px;background:#8884;border-radius:4px">'
        f'<div style="width:{percent:.1f}%;height:8px;background:#2a9d8f;border-radius:4px">'
        "</div></div></div>"
    )
