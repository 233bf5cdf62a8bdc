"""Against tiktoken itself, over vocabularies from the tree: the same ids for every text (B6)."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.tokens import TokenCounter

ROOT = Path(__file__).resolve().parents[3]
MODELS = {"o200k_base": "gpt-4o", "cl100k_base": "gpt-4"}

LATIN = "etaoin shrdlu ETAOIN SHRDLU 's 'LL 're"
SCRIPTS = st.sampled_from(
    [
        LATIN,
        "äöüßéñçøłžş ÀÉÎ ĳŐ",
        "абвгд АБВГД ёЁ ґї",
        "αβγδ ΑΒΓΔ άώ",
        "中文字符測試的一是了我 。\uff0c\uff01",
        "日本語ひらがなカタカナ漢字ー・",
        "한국어 글자 ㄱㄴㄷ",
        "العربية ۰۱۲ ًٌٍ",
        "עברית שלום ְִֵ",
        "हिन्दी देवनागरी ०१२ ्",
        "ไทยภาษา ่้๊",
        "😀👍🏽👨‍👩‍👧🇩🇪❤️‍🔥🧑🏿‍🚀",
        "0123456789 ²½Ⅳ٣๓",
        "\r\n\n\t  \u00a0\u2003\u3000\u200b",
        "\x00\x01\x07\x1b\x7f\x85\u2028\ufeff\ufffd",
        "(){}[]<>=+-*/%!&|^~?:;,.\"'`@#$_\\",
        "e\u0301a\u0308\u20dd\u0489\u1abe",
        "ǅǈǋ ʰʲ ªº ꙮ",
    ]
)


@st.composite
def mixed(draw: st.DrawFn) -> str:
    """Runs of characters of one script each, as texts have them."""
    runs = draw(st.lists(SCRIPTS.flatmap(lambda script: st.text(script, max_size=12)), max_size=10))
    return "".join(runs)


TEXTS = mixed() | st.text(max_size=80)


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tiktoken.Encoding]]:
    """tiktoken's encodings, loaded without a network."""
    cache = tmp_path_factory.mktemp("tiktoken")
    script = ROOT / "tools" / "vocabularies.py"
    subprocess.run([sys.executable, script, "cache", cache], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        patch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # a download would fail
        yield {name: tiktoken.get_encoding(name) for name in MODELS}


@pytest.fixture(scope="module")
def counters() -> dict[str, TokenCounter]:
    return {name: TokenCounter.for_model(model) for name, model in MODELS.items()}


def check(counter: TokenCounter, peer: tiktoken.Encoding, text: str) -> None:
    ids = peer.encode_ordinary(text)
    assert counter.encode(text) == ids
    assert counter.count(text) == len(ids)
    assert counter.count_till_limit(text, len(ids)) == len(ids)
    if ids:
        assert counter.count_till_limit(text, len(ids) - 1) is None
    assert counter.decode(ids) == peer.decode(ids)


@pytest.mark.parametrize("encoding", MODELS)
@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
def test_b6_any_text_has_tiktokens_ids(
    encoding: str,
    peers: dict[str, tiktoken.Encoding],
    counters: dict[str, TokenCounter],
    text: str,
) -> None:
    check(counters[encoding], peers[encoding], text)
    assert counters[encoding].decode(counters[encoding].encode(text)) == text


@pytest.mark.parametrize("encoding", MODELS)
@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(categories=("Cs", "L", "So")), max_size=20))
def test_b6_lone_surrogates_too(
    encoding: str,
    peers: dict[str, tiktoken.Encoding],
    counters: dict[str, TokenCounter],
    text: str,
) -> None:
    check(counters[encoding], peers[encoding], text)


def corpus() -> dict[str, str]:
    """Texts of some length, of each kind that prompts are made of; the same in every run."""
    dice = random.Random(20)
    code = "\n".join(path.read_text() for path in sorted((ROOT / "tools").glob("*.py")))
    core = "\n".join(path.read_text() for path in sorted((ROOT / "cpp").rglob("*.hpp"))[:20])
    planes = [(0x20, 0x24F), (0x370, 0x52F), (0x900, 0xDFF), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF)]
    return {
        "python": code,
        "c++": core.replace("  ", "\t"),
        "prose": (ROOT / "README.md").read_text(),
        "chinese": "".join(chr(dice.randint(0x4E00, 0x9FFF)) for _ in range(4_000)),
        "chinese, punctuated": "今天天气很好\uff0c我们去公园散步吧。" * 300,
        "emoji": "".join(dice.choices("😀👍🏽👨‍👩‍👧🇩🇪❤️‍🔥 🧑🏿‍🚀\u200d\ufe0f", k=3_000)),
        "control": "".join(chr(dice.randrange(0x20)) for _ in range(3_000)),
        "every block": "".join(chr(dice.randint(*dice.choice(planes))) for _ in range(5_000)),
        "all code points": "".join(
            chr(point) for point in range(0, 0x110000, 37) if not 0xD800 <= point < 0xE000
        ),
        "digits": "".join(dice.choices("0123456789.,-", k=3_000)),
        "json": '{"a": [1, 2.5e-3, null], "b": {"c": "\\u00e9\\n"}}' * 200,
        "special tokens": "<|endoftext|><|im_start|>user<|fim_prefix|><|endofprompt|>" * 20,
        "one letter": "a" * 5_000,
        "spaces": " " * 5_000 + "x" + "\n" * 3_000 + "\r\n" * 999 + "\t" * 501,
        "a long word": "Donaudampfschifffahrtsgesellschaftskapitän" * 100,
        "signs": "=" * 3_000 + "-" * 1_001 + "#" * 77,
        "base64": "".join(dice.choices("ABCDEFGHabcdefgh0123456789+/", k=5_000)),
        "contractions": "I'm you're WE'LL they'd It'S don't O'Neill's 'tis \u017f'\u017f " * 100,
    }


@pytest.mark.parametrize("encoding", MODELS)
@pytest.mark.parametrize("kind", corpus())
def test_b6_long_texts_of_every_kind_have_tiktokens_ids(
    encoding: str,
    kind: str,
    peers: dict[str, tiktoken.Encoding],
    counters: dict[str, TokenCounter],
) -> None:
    check(counters[encoding], peers[encoding], corpus()[kind])
