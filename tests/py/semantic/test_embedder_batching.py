"""Micro-batches: what goes together, what is bounded, who is told. Calls are counted, not timed."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import EmbedderBusy, EmbedderError
from sentinel.semantic.batching import Batcher


class Held:
    """A run that notes its batches and waits at the gate."""

    def __init__(self) -> None:
        self.batches: list[list[list[int]]] = []
        self.began = threading.Event()
        self.gate = threading.Event()

    def __call__(self, ids: list[list[int]]) -> list[int]:
        self.batches.append(ids)
        self.began.set()
        self.gate.wait(10)
        if ids[0] == [-1]:
            raise OSError("broken")
        return [sum(one) for one in ids]


def batcher(
    run: Held, *, max_batch: int = 4, max_tokens: int = 1_000, max_pending: int = 100
) -> Batcher[int]:
    return Batcher(run, max_batch=max_batch, max_tokens=max_tokens, max_pending=max_pending)


def busy(one: Batcher[int], run: Held) -> Future[int]:
    """The first job, running and held."""
    first = one.submit([1])
    assert run.began.wait(10)
    return first


def test_what_came_while_a_batch_ran_goes_together_by_length() -> None:
    run = Held()
    one = batcher(run)
    busy(one, run)
    futures = [one.submit([number] * (1 + number % 2)) for number in range(6)]
    run.gate.set()
    assert [future.result(10) for future in futures] == [0, 2, 2, 6, 4, 10]
    assert run.batches == [[[1]], [[0], [2], [4]], [[1, 1], [3, 3], [5, 5]]]
    one.close()


@pytest.mark.parametrize(
    ("max_batch", "max_tokens", "calls"),
    [(100, 1_000, 1), (4, 1_000, 3), (100, 30, 4), (100, 1, 10)],
)
def test_a_batch_has_bounds_and_one_job_always_fits(
    max_batch: int, max_tokens: int, calls: int
) -> None:
    run = Held()
    one = batcher(run, max_batch=max_batch, max_tokens=max_tokens)
    busy(one, run)
    futures = [one.submit([1] * 10) for _ in range(10)]
    run.gate.set()
    assert [future.result(10) for future in futures] == [10] * 10
    assert len(run.batches) - 1 == calls
    one.close()


def test_a_full_queue_refuses_and_takes_again_when_it_moved() -> None:
    run = Held()
    one = batcher(run, max_pending=2)
    busy(one, run)
    waiting = [one.submit([2]), one.submit([3])]
    with pytest.raises(EmbedderBusy, match="2 texts wait"):
        one.submit([4])
    run.gate.set()
    assert [future.result(10) for future in waiting] == [2, 3]
    assert one.submit([4]).result(10) == 4
    one.close()


def test_a_cancelled_job_is_never_run() -> None:
    run = Held()
    one = batcher(run)
    busy(one, run)
    left, kept = one.submit([2]), one.submit([3])
    assert left.cancel()
    run.gate.set()
    assert kept.result(10) == 3
    assert run.batches == [[[1]], [[3]]]
    one.close()


def test_a_failing_batch_tells_each_of_its_own_and_the_next_one_runs() -> None:
    run = Held()
    one = batcher(run)
    busy(one, run)
    failing, fine = [one.submit([-1]), one.submit([-1])], one.submit([2, 2])
    run.gate.set()
    for future in failing:
        with pytest.raises(OSError, match="broken"):
            future.result(10)
    assert fine.result(10) == 4
    one.close()


def test_closing_fails_what_waits_and_ends_the_thread() -> None:
    run = Held()
    one = batcher(run)
    first, waiting = busy(one, run), one.submit([2])
    closing = threading.Thread(target=one.close)
    closing.start()
    with pytest.raises(EmbedderError, match="closed"):
        waiting.result(10)
    run.gate.set()
    closing.join(10)
    assert first.result(0) == 1
    one.close()
    with pytest.raises(EmbedderError, match="closed"):
        one.submit([1])


def test_a_child_of_a_fork_begins_empty_and_works() -> None:
    run = Held()
    one = batcher(run)
    busy(one, run)
    one.submit([2])
    child = os.fork()
    if child == 0:
        run.gate.set()
        fine = one.submit([7]).result(10) == 7 and run.batches[1:] == [[[7]]]
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    run.gate.set()
    one.close()


@given(st.lists(st.integers(1, 6), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 20))
def test_any_stream_of_jobs_is_answered_in_batches_of_one_length(
    lengths: list[int], max_batch: int, max_tokens: int
) -> None:
    run = Held()
    one = batcher(run, max_batch=max_batch, max_tokens=max_tokens)
    busy(one, run)
    futures = [one.submit([place] * length) for place, length in enumerate(lengths)]
    run.gate.set()
    assert [future.result(10) for future in futures] == [
        place * length for place, length in enumerate(lengths)
    ]
    one.close()
    for batch in run.batches:
        (length,) = {len(ids) for ids in batch}
        assert len(batch) <= max(1, min(max_batch, max_tokens // length))
    assert sum(map(len, run.batches)) == 1 + len(lengths)
