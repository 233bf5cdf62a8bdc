"""The per-entry rule of vCache, written from the formulas of its paper, for comparison only.

Source: Schroeder et al., "vCache: Verified Semantic Prompt Caching" (2025). Each entry has its own
observations (similarity, right or wrong), to which (0, wrong) and (1, right) are added. With at
least four labels a logistic curve L(s) = 1 / (1 + exp(-g (s - t))) is fitted to them. With
confidence 1 - e the threshold t is at most t + z(1 - e) x its standard error; with that, an
answer is right with probability (1 - e) L(s). A prompt explores (asks upstream) with the least
probability over e that keeps the chance of a right answer at 1 - delta. An exploration labels the
nearest entry; if it was wrong, the prompt becomes an entry itself.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

__all__ = ["Outcome", "run"]

LEAST_LABELS = 4
RISKS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
QUANTILES = tuple(NormalDist().inv_cdf(1 - risk) for risk in RISKS)
STEPS = 25
STEEPEST = 200.0


@dataclass
class Outcome:
    requests: int = 0
    hits: int = 0
    wrong: int = 0


@dataclass
class _Entry:
    answer: int
    labels: list[tuple[float, bool]] = field(default_factory=list)
    curve: tuple[float, float, float] | None = None  # t, g, standard error of t


def run(vectors: Any, answers: Sequence[int], delta: float, seed: int) -> Outcome:
    """One pass over a stream from an empty cache; `delta` is the error allowed of all requests."""
    draw = random.Random(seed)
    known = np.empty_like(vectors)
    entries: list[_Entry] = []
    outcome = Outcome()
    for vector, answer in zip(vectors, answers, strict=True):
        outcome.requests += 1
        if not entries:
            known[0] = vector
            entries.append(_Entry(answer))
            continue
        near = known[: len(entries)] @ vector
        place = int(near.argmax())
        entry, similarity = entries[place], float(near[place])
        if draw.random() > _exploration(entry, similarity, delta):
            outcome.hits += 1
            outcome.wrong += entry.answer != answer
            continue
        right = entry.answer == answer
        entry.labels.append((similarity, right))
        entry.curve = None
        if not right:
            known[len(entries)] = vector
            entries.append(_Entry(answer))
    return outcome


def _exploration(entry: _Entry, similarity: float, delta: float) -> float:
    if len(entry.labels) < LEAST_LABELS:
        return 1.0
    if entry.curve is None:
        entry.curve = _fit([(0.0, False), (1.0, True), *entry.labels])
    middle, steepness, error = entry.curve
    least = 1.0
    for risk, quantile in zip(RISKS, QUANTILES, strict=True):
        bound = min(1.0, middle + quantile * error)
        right = (1 - risk) * _logistic(steepness * (similarity - bound))
        least = min(least, max(0.0, (1 - delta - right) / (1 - right)))
    return least


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, value))))


def _fit(labels: Sequence[tuple[float, bool]]) -> tuple[float, float, float]:
    """Maximum likelihood of w s + b with a little ridge, as t = -b / w, g = w, error of t."""
    w, b, ridge = 10.0, -7.0, 1e-3
    for _ in range(STEPS):
        gw, gb, ww, wb, bb = -ridge * w, -ridge * b, ridge, 0.0, ridge
        for s, right in labels:
            p = _logistic(w * s + b)
            bend = p * (1 - p)
            gw += (right - p) * s
            gb += right - p
            ww += bend * s * s
            wb += bend * s
            bb += bend
        determinant = ww * bb - wb * wb
        if determinant <= 1e-12:
            break
        dw, db = (bb * gw - wb * gb) / determinant, (ww * gb - wb * gw) / determinant
        shrink = min(1.0, 20.0 / max(abs(dw), abs(db), 1e-9))
        w, b = w + shrink * dw, b + shrink * db
        if abs(dw) + abs(db) < 1e-6:
            break
    w = min(max(w, 1e-3), STEEPEST)
    middle = -b / w
    determinant = max(ww * bb - wb * wb, 1e-12)
    variance = (ww - 2 * middle * wb + middle * middle * bb) / determinant / (w * w)
    return middle, w, math.sqrt(max(variance, 0.0))
