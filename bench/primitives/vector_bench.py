"""Nearest vectors, sketched and exact, beside faiss, hnswlib, usearch, numpy and plain reading.

Without options the rows are the sample in `data/`, enlarged to `--rows` with a little noise; with
`--vectors FILE.npy` they are that file's (float, unit length). `HELD_OUT` of them are the queries
and not in any index. Everything is timed with one thread; only the graphs are built with more.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import faiss
import hnswlib
import numpy as np
from interleaved import Bar, Way, measure, report
from usearch.index import Index as UsearchIndex

from sentinel.vector import VectorIndex

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SAMPLE = Path(__file__).parent / "data" / "minilm_questions_i8.npz"
HELD_OUT = 500
EXACT_ROWS = 100_000
MICROSECONDS_PER_1000_ROWS = 2.5
RECALL = 0.999
ABOVE_THE_MEMORY_BOUND = 1.3

Rows: TypeAlias = Any  # a numpy array of float32, (n, dimension) or one row


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--vectors", type=Path, help="unit vectors, (n, dimension), as .npy")
    options.add_argument("--rows", type=int, default=30_000, help="to enlarge the sample to")
    given = options.parse_args()
    faiss.omp_set_num_threads(1)
    base = read_sample() if given.vectors is None else np.load(given.vectors).astype(np.float32)
    queries, base = unit(base[:HELD_OUT]), unit(base[HELD_OUT:])
    rows = enlarged(base, given.rows) if given.vectors is None else base
    compare_approximate(rows, queries)
    compare_exact(enlarged(base, EXACT_ROWS), queries)


def begin_again_with_one_thread() -> None:
    """numpy's libraries read how many threads they may use when they are loaded."""
    if not ONE_THREAD.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})


def compare_approximate(rows: Rows, queries: Rows) -> None:
    """The nearest of each query, as fast as each library finds it, and how often it is."""
    index = indexed(rows)
    peers = {"faiss flat": faiss_flat(rows), "hnswlib": hnsw(rows), "usearch": usearch(rows)}
    finders: dict[str, Callable[[Rows], int]] = {
        "sentinel": lambda query: index.search(query, 1).ids[0],
        "numpy": lambda query: int((rows @ query).argmax()),
        **peers,
    }
    nearest = (queries @ rows.T).argmax(axis=1)
    title = f"top-1 over {len(rows):,} x {rows.shape[1]}, one query a call"
    ways = {name: way(find, queries) for name, find in finders.items()}
    figures = measure(title, ways, rounds=40, round_seconds=0.02)
    report(figures)
    for name, find in finders.items():
        found = np.array([find(query) for query in queries])
        sys.stdout.write(f"  recall@1 of {name:<20}{(found == nearest).mean():.4f}\n")
    per_1000 = figures.nanoseconds["sentinel"] / len(rows)
    verdict = "met" if per_1000 <= MICROSECONDS_PER_1000_ROWS else "NOT MET"
    sys.stdout.write(f"  sentinel per 1,000 rows: {per_1000:.2f} us\n")
    sys.stdout.write(f"  bar: at most {MICROSECONDS_PER_1000_ROWS} us: {verdict}\n")
    found = np.array([match.ids[0] for match in index.search_batch(queries, 1)])
    verdict = "met" if (found == nearest).mean() >= RECALL else "NOT MET"
    sys.stdout.write(f"  bar: recall@1 at least {RECALL}: {verdict}\n")


def compare_exact(rows: Rows, queries: Rows) -> None:
    """Every row read, beside what reading as many bytes takes."""
    index = indexed(rows)
    flat = faiss_flat(rows)
    title = f"exact top-1 over {len(rows):,} x {rows.shape[1]} float32, one query a call"
    ways = {
        "sentinel": way(lambda query: index.search(query, 1, exact=True), queries),
        "sequential read": sequential_read(rows.nbytes),
        "faiss flat": way(flat, queries),
        "numpy": way(lambda query: (rows @ query).argmax(), queries),
    }
    figures = measure(title, ways, rounds=60, round_seconds=0.01)
    report(figures, bars=(Bar("sequential read", ABOVE_THE_MEMORY_BOUND),))
    report_restart(index)


def report_restart(index: VectorIndex) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "index.vectors")
        save = fastest(lambda: index.save(path))
        load = fastest(lambda: VectorIndex.load(path))
        size = path.stat().st_size / 1e6
    sys.stdout.write(f"  saved to disk in {save:.0f} ms, loaded in {load:.0f} ms ({size:.0f} MB)\n")


def fastest(do: Callable[[], object]) -> float:
    """Milliseconds, the least of five."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        do()
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def way(find: Callable[[Rows], object], queries: Rows) -> Way:
    def run(repetitions: int) -> None:
        for i in range(repetitions):
            find(queries[i % len(queries)])

    return run


def sequential_read(size: int) -> Way:
    """The memory bound: the C library looks for a byte that is not there, 32 bytes at a time.

    numpy asks for huge pages, so that this is as fast as reading can be.
    """
    buffer = np.ones(size, dtype=np.uint8)
    memchr = ctypes.CDLL(None).memchr
    memchr.restype = ctypes.c_void_p
    memchr.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)

    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            assert memchr(buffer.ctypes.data, 2, size) is None

    return run


def indexed(rows: Rows) -> VectorIndex:
    index = VectorIndex(rows.shape[1])
    index.add(np.arange(len(rows)), rows)
    return index


def faiss_flat(rows: Rows) -> Callable[[Rows], int]:
    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(rows)
    return lambda query: int(flat.search(query[None], 1)[1][0, 0])


def hnsw(rows: Rows) -> Callable[[Rows], int]:
    graph = hnswlib.Index(space="ip", dim=rows.shape[1])
    graph.init_index(max_elements=len(rows), M=16, ef_construction=100)
    graph.add_items(rows, num_threads=os.cpu_count())
    graph.set_ef(100)
    graph.set_num_threads(1)
    return lambda query: int(graph.knn_query(query, k=1)[0][0, 0])


def usearch(rows: Rows) -> Callable[[Rows], int]:
    graph = UsearchIndex(
        ndim=rows.shape[1], metric="ip", dtype="f32", connectivity=16, expansion_add=100
    )
    graph.add(np.arange(len(rows)), rows, threads=os.cpu_count() or 1)
    graph.expansion_search = 100
    return lambda query: int(graph.search(query, 1, threads=1).keys[0])


def read_sample() -> Rows:
    with np.load(SAMPLE) as sample:
        return np.asarray(sample["rows"] * sample["scale"][:, None], dtype=np.float32)


def enlarged(base: Rows, count: int) -> Rows:
    """The base over and over, each time with other noise: about 0.9 from the original in cosine."""
    random = np.random.default_rng(5)
    rows = np.resize(base, (count, base.shape[1]))
    noise = random.standard_normal((count - len(base), base.shape[1]), dtype=np.float32)
    rows[len(base) :] += noise * np.float32(0.5 / base.shape[1] ** 0.5)
    return unit(rows)


def unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


if __name__ == "__main__":
    begin_again_with_one_thread()
    main()
