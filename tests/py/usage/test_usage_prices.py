"""D18: the price table that is shipped, and what a table may say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ConfigError
from sentinel.types import ModelPrice, PriceTable
from sentinel.usage import shipped_prices


def test_the_shipped_table_is_dated_and_sound() -> None:
    table = shipped_prices()
    assert table.version.startswith("20")
    prices = {price.model: price for price in table.models}
    assert prices["gpt-4o-mini"] == ModelPrice("gpt-4o-mini", 150_000, 75_000, 150_000, 600_000)
    assert prices["claude-3-5-sonnet-*"].cache_write == 3_750_000
    assert len(prices) == len(table.models)


def test_cached_tokens_never_cost_more_than_fresh_ones() -> None:
    assert all(price.cached <= price.prompt for price in shipped_prices().models)


def test_kinds_that_are_left_out_cost_what_the_prompt_costs() -> None:
    row = {"model": "m", "prompt": 5, "completion": 7}
    table = PriceTable.from_document({"version": "1", "source": "me", "models": [row]})
    assert table.models == (ModelPrice("m", 5, 5, 5, 7),)


GOOD: dict[str, Any] = {"model": "m", "prompt": 1, "completion": 1}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], ""),
        ({"models": []}, "version"),
        ({"version": "1"}, "models"),
        ({"version": "1", "models": "x"}, "models"),
        ({"version": "1", "models": [], "x": 1}, "x"),
        ({"version": "1", "models": [1]}, "models[0]"),
        ({"version": "1", "models": [GOOD | {"prompt": -1}]}, "models[0].prompt"),
        ({"version": "1", "models": [GOOD | {"prompt": 1.5}]}, "models[0].prompt"),
        ({"version": "1", "models": [GOOD | {"cached": True}]}, "models[0].cached"),
        ({"version": "1", "models": [GOOD | {"completion": 10**20}]}, "models[0].completion"),
        ({"version": "1", "models": [GOOD | {"output": 1}]}, "models[0].output"),
        ({"version": "1", "models": [GOOD | {"model": "a*b"}]}, "models[0].model"),
        ({"version": "1", "models": [GOOD, GOOD]}, "models[1].model"),
    ],
)
def test_b5_a_fault_in_a_table_has_its_path(document: object, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PriceTable.from_document(document)
    assert [fault.path for fault in caught.value.faults] == [path]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["version", "models", "model", "prompt", "x"]), inner)
    ),
    max_leaves=15,
)


@given(JSON)
def test_no_document_makes_the_table_fail_in_another_way(document: object) -> None:
    try:
        PriceTable.from_document(document)
    except ConfigError as error:
        faults = error.faults
        if not faults:
            pytest.fail("refused without a reason")
