"""Durations, sizes and numbers: exact, in range, never coerced by accident."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.config.units import Number, Size, Span, Switch, Whole, format_duration

SPAN = Span("0s", "30d")


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        ("2s", 2_000_000),
        ("500ms", 500_000),
        ("10m", 600_000_000),
        ("1h", 3_600_000_000),
        ("1.5h", 5_400_000_000),
        ("250us", 250),
        ("3", 3_000_000),
        (2, 2_000_000),
        (0.25, 250_000),
        ("1 d", 86_400_000_000),
    ],
)
def test_a_duration_reads_as_people_write_it(value: object, micros: int) -> None:
    assert SPAN.parse(value) == timedelta(microseconds=micros)


@pytest.mark.parametrize(
    "value",
    ["", "s", "-1s", "1e3", "2 weeks", "1m30s", "٣s", True, None, [], float("nan"), float("inf")],
)
def test_b5_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        SPAN.parse(value)


@pytest.mark.parametrize("value", ["9" * 15 + "d", 10**400, -1, "31d", 1e300])
def test_b5_a_duration_out_of_range_is_refused_with_the_range(value: object) -> None:
    with pytest.raises(ValueError, match="from 0s to 30d"):
        SPAN.parse(value)


@given(st.integers(0, 30 * 86_400_000_000))
def test_a_written_duration_reads_back_the_same(micros: int) -> None:
    duration = timedelta(microseconds=micros)
    assert SPAN.parse(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("value", "size"),
    [("256MiB", 256 << 20), ("10MB", 10**7), (4096, 4096), ("4096", 4096), ("1.5 KiB", 1536)],
)
def test_a_size_reads_as_people_write_it(value: object, size: int) -> None:
    assert Size(1, 1 << 40).parse(value) == size


@pytest.mark.parametrize("value", ["1mb", "lots", "", None, True, {}, "1KiBB", 0, "2000GiB"])
def test_b5_a_size_of_no_kind_or_out_of_range_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        Size(1, 1 << 40).parse(value)


@pytest.mark.parametrize("value", [True, 1.0, "1.0", "-1", " 1", "٣", "1" * 19, None, 0, 11])
def test_b5_a_whole_number_is_whole_and_in_range(value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        Whole(1, 10).parse(value)


def test_numbers_and_switches_take_text_because_variables_are_text() -> None:
    assert Whole(1, 10).parse("7") == 7
    assert Number(0, 1).parse("0.5") == 0.5
    assert Switch().parse("true") is True
    assert Switch().parse("false") is False


@pytest.mark.parametrize("value", [1, 0, "yes", "True", "", None, []])
def test_b5_only_true_and_false_are_switches(value: object) -> None:
    with pytest.raises(ValueError, match="true or false"):
        Switch().parse(value)


@given(st.fractions(0, 100, max_denominator=1000))
def test_a_share_stays_in_its_range(share: Fraction) -> None:
    assert Number(0, 100).parse(float(share)) == float(share)
