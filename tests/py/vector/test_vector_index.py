"""VectorIndex: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import math
import random
import struct
import threading
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sentinel
from sentinel.vector import Matches, VectorIndex

Vector = Sequence[float]


def index_of(*vectors: Vector, partition: str | None = None) -> VectorIndex:
    index = VectorIndex(len(vectors[0]))
    index.add(range(len(vectors)), [list(vector) for vector in vectors], partition)
    return index


def vectors_of(count: int, dimension: int, seed: int = 1) -> list[list[float]]:
    draw = random.Random(seed)
    return [[draw.gauss(0, 1) for _ in range(dimension)] for _ in range(count)]


def cosine(left: Vector, right: Vector) -> float:
    products = math.fsum(a * b for a, b in zip(left, right, strict=True))
    return products / (math.hypot(*left) * math.hypot(*right))


def test_the_package_gives_it_by_its_name() -> None:
    assert sentinel.VectorIndex is VectorIndex
    assert "VectorIndex" in sentinel.__all__


def test_a_search_gives_ids_and_cosines_best_first() -> None:
    index = index_of([3, 4], [1, 0], [0, -2])
    found = index.search([10, 0], 3)
    assert isinstance(found, Matches)
    assert found.ids == [1, 0, 2]
    assert found.scores == pytest.approx([1, 0.6, 0], abs=1e-6)


def test_there_are_fewer_than_k_if_the_index_has_fewer() -> None:
    assert index_of([1, 0]).search([1, 0], 10).ids == [0]
    assert VectorIndex(2).search([1, 0], 10) == ([], [])


def test_equal_scores_come_in_the_order_of_ids() -> None:
    index = VectorIndex(2)
    index.add([5, -1, 3], [[1, 1]] * 3)
    assert index.search([1, 1], 2).ids == [-1, 3]


@pytest.mark.parametrize("format", ["e", "f", "d"])
def test_vectors_may_be_a_buffer_of_any_width(format: str) -> None:
    testbuffer = pytest.importorskip("_testbuffer")  # of CPython's tests: knows what array does not
    numbers = [1.0, 0.5, -0.25, 2.0, 0.0, 1.0]
    index = VectorIndex(3)
    index.add([1, 2], testbuffer.ndarray(numbers, shape=[2, 3], format=format))
    found = index.search(testbuffer.ndarray(numbers[:3], shape=[3], format=format), 2)
    assert found.ids == [1, 2]
    assert found.scores == pytest.approx([1, cosine(numbers[:3], numbers[3:])], abs=1e-6)


def test_a_buffer_with_gaps_is_read_by_its_steps() -> None:
    wide = memoryview(array("f", [1, 9, 0, 9, 0, 9]))
    index = VectorIndex(3)
    index.add([1], [[1, 0, 0]])
    assert index.search(wide[::2], 1).scores == pytest.approx([1])
    assert index.search(wide[4::-2], 1).scores == pytest.approx([0])


def test_a_buffer_that_is_not_aligned_is_read_too() -> None:
    packed = b"x" + struct.pack("2f", 3, 4)
    index = index_of([3, 4])
    assert index.search(memoryview(packed)[1:].cast("f"), 1).scores == pytest.approx([1])


def test_lists_and_tuples_and_arrays_of_rows_do() -> None:
    index = VectorIndex(2)
    index.add((1, 2, 3), [[1, 0], (0, 1), array("d", [1, 1])])
    assert len(index) == 3


@pytest.mark.parametrize(
    "ids",
    [[7, 8], (7, 8), range(7, 9), array("q", [7, 8]), array("i", [7, 8]), array("B", [7, 8])],
    ids=lambda ids: f"{type(ids).__name__}-{getattr(ids, 'typecode', '')}",
)
def test_ids_may_be_any_whole_numbers(ids: Any) -> None:
    index = VectorIndex(1)
    index.add(ids, [[1], [-1]])
    assert index.search([1], 2).ids == [7, 8]
    assert index.remove(ids) == 2


def test_ids_reach_to_both_ends_of_64_bits() -> None:
    index = VectorIndex(1)
    ends = [-(2**63), 2**63 - 1]
    index.add(ends, [[1], [1]])
    assert index.search([1], 2).ids == ends
    assert all(end in index for end in ends)
    assert 2**63 not in index
    assert "7" not in index


def test_an_id_added_again_is_replaced_and_moves() -> None:
    index = index_of([1, 0], [0, 1], partition="a")
    index.add([0], [[0, 1]], "b")
    assert len(index) == 2
    assert index.search([0, 1], 5, "a").ids == [1]
    assert index.search([0, 1], 5, "b").ids == [0]


def test_a_partition_filters_and_none_means_all() -> None:
    index = VectorIndex(1)
    index.add([1], [[1]])
    index.add([2], [[1]], "a")
    assert index.search([1], 5).ids == [1, 2]
    assert index.search([1], 5, "").ids == [1]
    assert index.search([1], 5, "a").ids == [2]
    assert index.search([1], 5, "b").ids == []


def test_a_batch_answers_as_its_queries_alone_do() -> None:
    index = index_of(*vectors_of(600, 16))
    queries = vectors_of(5, 16, seed=2)
    assert index.search_batch(queries, 3) == [index.search(query, 3) for query in queries]
    assert index.search_batch([], 3) == []


def test_nothing_may_be_added_and_removed() -> None:
    index = index_of([1, 0])
    index.add([], [])
    assert index.remove([]) == 0
    assert len(index) == 1


def test_it_says_what_it_is() -> None:
    assert repr(index_of([1, 0])) == "VectorIndex(dimension=2, 1 vectors)"


# ---- what is refused ----


@pytest.mark.parametrize(
    ("vectors", "fault"),
    [
        ([[0.0, 0.0]], "vectors[0] is a zero vector"),
        ([[1.0, math.nan]], "vectors[0] holds a number that is not finite"),
        ([[math.inf, 1.0]], "vectors[0] holds a number that is not finite"),
        ([[1e300, 1.0]], "not finite"),
        ([[10**400, 1.0]], "not finite"),
        ([[1.0]], r"vectors[0] must have 2 numbers, not 1"),
        ([[1.0, 2.0], [1.0, 2.0]], "equally many, not 1 and 2"),
        ([], "equally many, not 1 and 0"),
        (array("f", [1, 2]), "vectors must have shape (n, 2), not (2,)"),
        (memoryview(bytes(12)).cast("f", shape=[1, 3]), "must have shape (n, 2), not (1, 3)"),
    ],
)
def test_vectors_that_are_none_are_value_errors_and_add_nothing(vectors: Any, fault: str) -> None:
    index = VectorIndex(2)
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        index.add([1], vectors)
    assert fault in str(raised.value)
    assert len(index) == 0


@pytest.mark.parametrize(
    "vectors", [None, 7, "ab", [1.0, 2.0], [["a", "b"]], {1, 2}, array("q", [1, 2]), b"ab"]
)
def test_vectors_of_another_type_are_type_errors(vectors: Any) -> None:
    with pytest.raises(TypeError, match="vectors"):
        VectorIndex(2).add([1], vectors)


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        ([1.5], TypeError),
        (["1"], TypeError),
        (7, TypeError),
        (array("d", [1]), TypeError),
        ([2**63], ValueError),
        (memoryview(bytes(8)).cast("q", shape=[1, 1]), ValueError),
    ],
)
def test_ids_that_are_none_are_refused(ids: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="ids"):
        VectorIndex(1).add(ids, [[1]])


@pytest.mark.parametrize("query", [[0, 0], [1, math.nan], [1], [[1, 2]], array("f", [1, 2, 3])])
def test_queries_that_are_none_are_refused_by_name(query: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="query"):
        index_of([1, 0]).search(query, 1)


@pytest.mark.parametrize("dimension", [0, -1, 16_385])
def test_a_dimension_out_of_range_is_named(dimension: int) -> None:
    with pytest.raises(ValueError, match=f"dimension must be 1 to 16384, not {dimension}"):
        VectorIndex(dimension)


@pytest.mark.parametrize("k", [0, -1, 2**31 + 1])
def test_a_k_out_of_range_is_named(k: int) -> None:
    with pytest.raises(ValueError, match=f"k must be 1 to {2**31}, not {k}"):
        index_of([1]).search([1], k)


@pytest.mark.parametrize("wrong", [1.0, "1", None, True])
def test_numbers_of_another_type_are_type_errors(wrong: Any) -> None:
    with pytest.raises(TypeError, match="dimension must be int"):
        VectorIndex(wrong)
    with pytest.raises(TypeError, match="k must be int"):
        index_of([1]).search([1], wrong)


def test_partitions_are_text_of_bounded_size() -> None:
    index = index_of([1])
    wrong: Any = 7
    with pytest.raises(TypeError, match="partition"):
        index.search([1], 1, wrong)
    with pytest.raises(ValueError, match="at most 256 bytes, not 257"):
        index.add([1], [[1]], "x" * 257)
    with pytest.raises(ValueError, match="surrogates"):
        index.add([1], [[1]], "\ud800")


# ---- against a plain model ----

NUMBERS = st.floats(-1, 1, width=32).filter(lambda number: number == 0 or abs(number) > 1e-3)
ROWS = st.lists(NUMBERS, min_size=5, max_size=5).filter(any)
IDS = st.integers(0, 12)
STEPS = st.one_of(
    st.tuples(st.just("add"), st.lists(st.tuples(IDS, ROWS), max_size=4), st.sampled_from("ab")),
    st.tuples(st.just("remove"), st.lists(IDS, max_size=4), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=12), ROWS, st.integers(1, 6), st.sampled_from(["a", "b", None]))
def test_it_answers_as_a_dict_and_a_sort_would(
    steps: list[Any], query: list[float], k: int, partition: str | None
) -> None:
    index = VectorIndex(5)
    model: dict[int, tuple[list[float], str]] = {}
    for what, given_rows, into in steps:
        if what == "add":
            index.add([id for id, _ in given_rows], [row for _, row in given_rows], into)
            model.update({id: (row, into) for id, row in given_rows})
        else:
            gone = {id for id in given_rows if model.pop(id, None)}
            assert index.remove(given_rows) == len(gone)
    assert len(index) == len(model)
    right = {id: cosine(query, row) for id, (row, of) in model.items() if partition in (None, of)}
    found = index.search(query, k, partition)
    assert len(found.ids) == len(set(found.ids)) == min(k, len(right))
    assert found.scores == pytest.approx([right[id] for id in found.ids], abs=1e-6)
    assert found.scores == pytest.approx(sorted(right.values(), reverse=True)[:k], abs=1e-6)


def test_sketched_searches_find_near_copies_among_many() -> None:
    rows = vectors_of(3_000, 48)
    index = index_of(*rows)
    draw = random.Random(3)
    for wanted in range(0, 3_000, 97):
        query = [number + draw.gauss(0, 0.2) for number in rows[wanted]]
        assert index.search(query, 5).ids[0] == wanted
        assert index.search(query, 1) == index.search(query, 1, exact=True)


# ---- files ----


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "index.vectors"
    index = index_of(*vectors_of(3, 4), partition="a")
    index.add([9], [[1, 2, 3, 4]])
    index.save(path)
    return path


def test_a_saved_index_comes_back_with_its_answers(tmp_path: Path) -> None:
    index = index_of(*vectors_of(700, 12), partition="a")
    index.add(range(1_000, 1_400), vectors_of(400, 12, seed=2))
    index.remove(range(50, 80))
    path = tmp_path / "index.vectors"
    index.save(str(path))
    again = VectorIndex.load(path)
    assert (len(again), again.dimension) == (len(index), 12)
    for query in vectors_of(20, 12, seed=3):
        for partition in ("a", "", None):
            for exact in (True, False):
                expected = index.search(query, 7, partition, exact=exact)
                assert again.search(query, 7, partition, exact=exact) == expected


def test_saving_replaces_the_file_and_leaves_nothing_beside_it(saved: Path) -> None:
    before = saved.read_bytes()
    VectorIndex.load(saved).save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    assert saved.stat().st_mode & 0o777 == 0o600


def test_a_failed_save_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError, match="folder"):
        index_of([1]).save(target)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_every_damaged_byte_and_every_cut_is_a_value_error(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    path = tmp_path / "damaged"
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        with pytest.raises(ValueError, match=r"^vector snapshot: "):
            VectorIndex.load(path)
        path.write_bytes(whole[:at])
        with pytest.raises(ValueError, match=r"^vector snapshot: "):
            VectorIndex.load(path)


def test_what_happens_to_a_file_after_loading_does_not_reach_the_index(saved: Path) -> None:
    index = VectorIndex.load(saved)
    expected = index.search([1, 2, 3, 4], 3)
    with saved.open("r+b") as file:
        file.truncate(10)
    assert index.search([1, 2, 3, 4], 3) == expected


def test_a_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        VectorIndex.load(tmp_path)


def test_a_file_of_another_kind_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are only words, and more than a few of them")
    with pytest.raises(ValueError, match="not a vector index"):
        VectorIndex.load(path)
    with pytest.raises(FileNotFoundError):
        VectorIndex.load(tmp_path / "nothing")


# ---- threads ----


def test_searches_beside_writers_see_whole_rows() -> None:
    index = VectorIndex(16)
    axes = [[float(i == axis) for i in range(16)] for axis in range(16)]
    stop = threading.Event()

    def write(seed: int) -> None:
        draw = random.Random(seed)
        while not stop.is_set():
            index.add([draw.randrange(40)], [draw.choice(axes)], draw.choice(["a", "b"]))
            index.remove([draw.randrange(40)])

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(8)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(200):
            assert set(index.search(axes[3], 40).scores) <= {0.0, 1.0}
    finally:
        stop.set()
        for writer in writers:
            writer.join()
