"""What a policy would have done with a recorded stream: hits, errors, calls for judge and audits.

Each row is offered in order, as to a gateway with an empty cache. A literal repeat within its
partition is an exact hit and never reaches the semantic policy. What is not served goes upstream,
whose answer is the row's `answer_id`; the judge compares ids, and errs in either direction with
probability `judge_error`, each time anew. Nothing is known ahead. The loop runs in C++, without the
GIL. Needs no numpy by itself; an embedder returns a float32 buffer of shape (n, dimension).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

from sentinel._core import SemanticReplay, SemanticStream
from sentinel.semantic.embedder import TextEmbedder
from sentinel.semantic.rows import Pair, Row

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "PairReport",
    "PolicyChoice",
    "ReplayReport",
    "mean_of",
    "replay",
    "replay_pairs",
]

FIXED_THRESHOLD: Final = 0.9


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """Which policy: `risk` keeps the promise, `fixed` has a cosine, `exact` only repeats."""

    kind: Literal["risk", "fixed", "exact"] = "risk"
    threshold: float = FIXED_THRESHOLD

    @classmethod
    def parse(cls, text: str) -> PolicyChoice:
        """From `risk`, `exact`, `fixed` or `fixed:0.9`. ValueError for anything else."""
        kind, _, number = text.partition(":")
        if kind == "risk" and not number:
            return cls("risk")
        if kind == "exact" and not number:
            return cls("exact")
        if kind != "fixed":
            raise ValueError(f"policy must be risk, exact or fixed:0.9, not {text!r}")
        try:
            threshold = float(number) if number else FIXED_THRESHOLD
        except ValueError:
            threshold = -1.0
        if not 0 < threshold <= 1:
            raise ValueError(f"a fixed threshold must be above 0 and at most 1, not {number!r}")
        return cls("fixed", threshold)


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """One pass over the stream. Shares are of all requests, but for `error_of_hits`.

    hit_rate: answered from the cache, exactly or semantically; exact_share: literal repeats alone.
    net_hit_rate: calls avoided, less audit calls and judge calls (each counted as a whole call).
    error_of_hits: wrong ones of the semantic hits; exact hits do not dilute it.
    worst_window_1000: the worst share of wrong within 1,000 requests in a row: of their semantic
    hits when the bound is of hits (windows with fewer than 100 hits tell nothing and are left
    out), else of the 1,000. first_hit: number of the first request served semantically, from 1.
    """

    requests: int
    hit_rate: float
    exact_share: float
    net_hit_rate: float
    error_of_hits: float
    error_of_all: float
    worst_window_1000: float
    first_hit: float | None
    judge_calls: float
    audit_calls: float


@dataclass(frozen=True, slots=True)
class PairReport:
    """One category: how many pairs, of them how many `b` were served from `a`, by same_answer."""

    category: str
    same_answer: bool
    pairs: int
    served: int

    @property
    def share(self) -> float:
        """Served of pairs."""
        return self.served / self.pairs


def replay(
    rows: Sequence[Row],
    embedder: TextEmbedder,
    *,
    policy: PolicyChoice | None = None,
    max_error: float = 0.01,
    of: Literal["hits", "requests"] = "hits",
    judge_error: float = 0.0,
    shuffles: int = 0,
    seed: int = 1,
    max_entries: int = 100_000,
) -> list[ReplayReport]:
    """One report per shuffle; without shuffles, one of the rows as they come.

    ValueError for `max_error` or `judge_error` outside their ranges.
    """
    chosen = policy or PolicyChoice()
    _check(max_error, judge_error, shuffles)
    stream = _stream(rows, embedder, exact=chosen.kind == "exact")
    reports = []
    for number in range(max(1, shuffles)):
        core = _core(embedder, chosen, max_error, of, judge_error, max_entries, seed + number)
        if shuffles:
            order = SemanticReplay.shuffled(len(rows), seed + number)
        else:
            order = list(range(len(rows)))
        core.run(stream, order)
        reports.append(_report(core))
    return reports


def replay_pairs(
    warm: Sequence[Row],
    pairs: Sequence[Pair],
    embedder: TextEmbedder,
    *,
    policy: PolicyChoice | None = None,
    max_error: float = 0.01,
    of: Literal["hits", "requests"] = "hits",
    judge_error: float = 0.0,
    seed: int = 1,
    max_entries: int = 100_000,
) -> list[PairReport]:
    """After the warm-up stream, is each pair's `b` served from its `a`?

    Each pair is asked alone: `a` is stored, `b` is looked up, `a` is taken out again. Nothing is
    learned from pairs.
    """
    chosen = policy or PolicyChoice()
    _check(max_error, judge_error, 0)
    core = _core(embedder, chosen, max_error, of, judge_error, max_entries, seed)
    order = SemanticReplay.shuffled(len(warm), seed)
    core.run(_stream(warm, embedder, exact=chosen.kind == "exact"), order)
    stored = _stream([Row(pair.a, "a") for pair in pairs], embedder)
    asked = _stream([Row(pair.b, "b") for pair in pairs], embedder)
    counts: dict[tuple[str, bool], list[int]] = {}
    for place, pair in enumerate(pairs):
        count = counts.setdefault((pair.category, pair.same_answer), [0, 0])
        count[0] += 1
        count[1] += bool(core.probe(stored, asked, place)["served"])
    return [
        PairReport(category, same, asked_, served)
        for (category, same), (asked_, served) in sorted(counts.items())
    ]


def mean_of(reports: Sequence[ReplayReport]) -> dict[str, float | None]:
    """The mean of each number over the reports that have it."""
    means: dict[str, float | None] = {}
    for field in fields(ReplayReport):
        found = [asdict(report)[field.name] for report in reports]
        known = [value for value in found if value is not None]
        means[field.name] = sum(known) / len(known) if known else None
    return means


def _check(max_error: float, judge_error: float, shuffles: int) -> None:
    if not 0 < max_error < 1:
        raise ValueError(f"max_error must be between 0 and 1, not {max_error}")
    if not 0 <= judge_error < 0.5:
        raise ValueError(f"judge_error must be at least 0 and below 0.5, not {judge_error}")
    if shuffles < 0:
        raise ValueError(f"shuffles must be at least 0, not {shuffles}")


def _core(
    embedder: TextEmbedder,
    policy: PolicyChoice,
    max_error: float,
    of: Literal["hits", "requests"],
    judge_error: float,
    max_entries: int,
    seed: int,
) -> SemanticReplay:
    return SemanticReplay(
        dimension=embedder.dimension,
        fixed_threshold=policy.threshold if policy.kind == "fixed" else None,
        exact_only=policy.kind == "exact",
        max_error=max_error,
        of=of,
        judge_error=judge_error,
        max_entries=max_entries,
        seed=seed,
    )


def _stream(rows: Sequence[Row], embedder: TextEmbedder, *, exact: bool = False) -> SemanticStream:
    texts = [row.text for row in rows]
    numbers: dict[str, int] = {}
    answers = [numbers.setdefault(row.answer_id, len(numbers)) for row in rows]
    beyond = [] if exact else [embedder.tokens(text) > embedder.window for text in texts]
    vectors: Any = (
        _nothing(len(rows), embedder.dimension) if exact else embedder.embed(texts, cut=True)
    )
    partitions = [row.partition for row in rows]
    return SemanticStream(texts, vectors, answers, partitions, beyond, embedder.dimension)


def _nothing(rows: int, dimension: int) -> Buffer:
    """Zeros of the right shape, for a policy that looks at no vector."""
    return memoryview(bytes(4 * rows * dimension)).cast("f", (rows, dimension))


def _report(core: SemanticReplay) -> ReplayReport:
    counts: dict[str, Any] = core.counts()
    requests, wrong = counts["requests"], counts["wrong_hits"]
    exact, semantic = counts["exact_hits"], counts["semantic_hits"]
    judged, audits = counts["judge_calls"], counts["audit_calls"]
    by = max(1, requests)
    return ReplayReport(
        requests=requests,
        hit_rate=(exact + semantic) / by,
        exact_share=exact / by,
        net_hit_rate=(exact + semantic - audits - judged) / by,
        error_of_hits=wrong / max(1, semantic),
        error_of_all=wrong / by,
        worst_window_1000=counts["worst_window"],
        first_hit=counts["first_hit"] or None,
        judge_calls=judged,
        audit_calls=audits,
    )
