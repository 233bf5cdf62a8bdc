"""The counter: which encoding a model gets, messages, refusals, what stays loaded."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sentinel import _core
from sentinel.tokens import TokenCounter
from sentinel.tokens.encodings import Loaded, shipped_encodings


@pytest.fixture(scope="module")
def counter() -> TokenCounter:
    return TokenCounter.for_model("gpt-4o")


@pytest.mark.parametrize(
    ("model", "encoding", "estimated"),
    [
        ("gpt-4o-mini", "o200k_base", False),
        ("gpt-4.1", "o200k_base", False),
        ("ft:gpt-4o-2024-08-06:acme::id", "o200k_base", False),
        ("gpt-4-0613", "cl100k_base", False),
        ("gpt-3.5-turbo", "cl100k_base", False),
        ("text-embedding-3-small", "cl100k_base", False),
        ("claude-sonnet-4-5", "o200k_base", True),
        ("", "o200k_base", True),
    ],
)
def test_b6_the_model_decides_the_encoding_and_unknown_ones_are_marked(
    model: str, encoding: str, estimated: bool
) -> None:
    counter = TokenCounter.for_model(model)
    assert (counter.encoding, counter.estimated) == (encoding, estimated)


def test_a_count_up_to_a_limit_is_the_count_or_nothing(counter: TokenCounter) -> None:
    text = "one two three four"
    assert counter.count_till_limit(text, 4) == counter.count(text) == 4
    assert counter.count_till_limit(text, 3) is None
    assert counter.count_till_limit("", 0) == 0


def test_half_a_surrogate_pair_is_counted_as_tiktoken_does(counter: TokenCounter) -> None:
    assert counter.encode("\ud83d\ude00") == counter.encode("\U0001f600")
    assert counter.encode("a\ud800b") == counter.encode("a\ufffdb")


def test_half_a_character_decodes_to_a_replacement(counter: TokenCounter) -> None:
    ids = counter.encode("\U0001f9ff")
    assert len(ids) > 1
    assert "\ufffd" in counter.decode(ids[:1])


# Messages


def test_messages_cost_their_texts_and_a_frame(counter: TokenCounter) -> None:
    texts = counter.count("system") + counter.count("Be brief.")
    assert counter.count_messages([]) == 3
    assert counter.count_messages([{"role": "system", "content": "Be brief."}]) == texts + 6
    named = {"role": "system", "content": "Be brief.", "name": "rules"}
    assert counter.count_messages([named]) == texts + 7 + counter.count("rules")


def test_text_parts_count_as_their_text_together(counter: TokenCounter) -> None:
    parts = [{"type": "text", "text": "Good "}, {"type": "text", "text": "morning"}]
    whole = counter.count_messages([{"role": "user", "content": "Good morning"}])
    assert counter.count_messages([{"role": "user", "content": parts}]) == whole
    assert counter.count_messages(iter([{"role": "user", "content": parts}])) == whole


def test_members_that_are_not_set_do_not_matter(counter: TokenCounter) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": None, "refusal": None}
    assert counter.count_messages([message]) == 6 + counter.count("assistant")


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("messages", "error", "told"),
    [
        ("hello", TypeError, "messages must be a list, not str"),
        ({"role": "user"}, TypeError, "messages must be a list, not dict"),
        (5, TypeError, "messages must be a list, not int"),
        ([["user", "hi"]], TypeError, "messages[0] must be a mapping, not list"),
        ([{"content": "hi"}], ValueError, "messages[0] has no role"),
        ([{"role": 1, "content": "hi"}], TypeError, "messages[0].role must be str, not int"),
        (
            [{"role": "user", "content": 1}],
            TypeError,
            "messages[0].content must be str, None or a list of text parts, not int",
        ),
        ([{"role": "user", "name": 1}], TypeError, "messages[0].name must be str, not int"),
        (
            [{"role": "user"}, {"role": "user", "content": [IMAGE]}],
            ValueError,
            "messages[1].content[0]: only text parts can be counted, not 'image_url'",
        ),
        (
            [{"role": "user", "content": [{"type": "text"}]}],
            TypeError,
            "messages[0].content[0].text must be str, not NoneType",
        ),
        (
            [{"role": "user", "content": ["hi"]}],
            TypeError,
            "messages[0].content[0] must be a mapping, not str",
        ),
        (
            [{"role": "assistant", "tool_calls": [{"id": "1"}]}],
            ValueError,
            "messages[0].tool_calls: only role, content and name can be counted",
        ),
    ],
)
def test_messages_that_cannot_be_counted_are_refused_by_name(
    counter: TokenCounter, messages: Any, error: type[Exception], told: str
) -> None:
    with pytest.raises(error) as raised:
        counter.count_messages(messages)
    assert str(raised.value) == told


# Refusals


@pytest.mark.parametrize("method", ["count", "encode"])
@pytest.mark.parametrize("text", [b"bytes", None, 5])
def test_what_is_no_text_is_refused(counter: TokenCounter, method: str, text: Any) -> None:
    with pytest.raises(TypeError, match=rf"^text must be str, not {type(text).__name__}$"):
        getattr(counter, method)(text)


def test_a_model_has_a_name() -> None:
    with pytest.raises(TypeError, match=r"^name must be str, not NoneType$"):
        TokenCounter.for_model(None)  # type: ignore[arg-type]


def test_a_limit_is_a_whole_number(counter: TokenCounter) -> None:
    with pytest.raises(TypeError, match=r"^limit must be int, not float$"):
        counter.count_till_limit("a", 1.0)  # type: ignore[arg-type]
    for limit in (-1, 1 << 63):
        with pytest.raises(ValueError, match=r"^limit must be 0 to"):
            counter.count_till_limit("a", limit)


@pytest.mark.parametrize(
    ("ids", "error", "told"),
    [
        ("abc", TypeError, "ids must be a list of int, not str"),
        (7, TypeError, "ids must be a list of int, not int"),
        ([1, "2"], TypeError, r"ids\[1\] must be int, not str"),
        ([-1], ValueError, r"ids\[0\] is no token of this encoding: -1"),
        ([1 << 70], ValueError, r"ids\[0\] is no token"),
        ([199_999], ValueError, "199999"),
    ],
)
def test_what_is_no_token_is_refused(
    counter: TokenCounter, ids: Any, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        counter.decode(ids)


def test_a_vocabulary_that_is_damaged_is_refused() -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        _core.Encoding(_core.EncodingName.o200k_base, b"junk")


# Threads and memory


@pytest.fixture
def no_forced_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("no_forced_switches")
@pytest.mark.parametrize(("length", "runs"), [(1 << 22, True), (1 << 10, False)])
def test_only_long_texts_are_counted_without_the_interpreter_lock(
    counter: TokenCounter, length: int, runs: bool
) -> None:
    text = "word " * (length // 5)
    turns = [0]
    during: list[int] = []

    def count() -> None:
        before = turns[0]
        counter.count(text)
        during.append(turns[0] - before)

    thread = threading.Thread(target=count)
    thread.start()
    while not during:
        turns[0] += 1
        time.sleep(0)  # hands the lock over: nothing else does here
    thread.join()
    assert (during[0] > 0) is runs


def test_one_counter_serves_many_threads(counter: TokenCounter) -> None:
    texts = [f"text {number} " * 5_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(counter.count, texts)) == [len(counter.encode(t)) for t in texts]


def test_b13_an_encoding_is_loaded_once_whoever_asks() -> None:
    asked: list[str] = []
    loading = threading.Barrier(2, timeout=5)

    def load(name: str) -> object:
        asked.append(name)
        loading.wait()  # a second load would pass here too early, the others wait for the lock
        return object()

    kept = Loaded(load)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(kept.get, "a") for _ in range(8)]
        loading.wait()
        assert len({id(future.result()) for future in futures}) == 1
    assert asked == ["a"]


def test_b13_only_the_last_asked_for_stay_loaded() -> None:
    asked: list[str] = []

    def load(name: str) -> str:
        asked.append(name)
        return name * 2

    kept = Loaded(load, most=4)
    for name in "abcd":
        kept.get(name)
    kept.get("a")  # now b was asked for longest ago
    kept.get("e")
    assert asked == list("abcde")
    for name in "acde":
        kept.get(name)
    assert asked == list("abcde")
    kept.get("b")
    assert asked == list("abcdeb")


def test_a_load_that_fails_is_tried_again() -> None:
    asked: list[str] = []

    def load(name: str) -> str:
        asked.append(name)
        if len(asked) == 1:
            raise OSError("not now")
        return name

    kept = Loaded(load)
    with pytest.raises(OSError, match="not now"):
        kept.get("a")
    assert kept.get("a") == "a"


def test_b13_counters_of_one_encoding_share_it() -> None:
    name = _core.EncodingName.o200k_base
    first = shipped_encodings.get(name)
    TokenCounter.for_model("gpt-4o")
    TokenCounter.for_model("gpt-5")
    assert shipped_encodings.get(name) is first
