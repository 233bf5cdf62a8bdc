"""Counting tokens: the row of issue 5's table, with peers, in one run.

    PYTHONPATH=python python bench/primitives/tokens_bench.py

A text is some 1,000 tokens of o200k_base, cut afresh from a long one before every count, at a place
that does not come again: no cache of whole texts helps, and a text's UTF-8 is made every time. Ours
is the public call, `TokenCounter.for_model(...).count`. Before anything is timed every peer must
give tiktoken's ids; one that cannot is named and left out. English is the Python documentation that
comes with Python, code is Python's library, Chinese is made here of common words by a fixed seed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import pydoc_data.topics
import random
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from interleaved import Bar, Way, measure, report

from sentinel.tokens import TokenCounter

ROOT: Final = Path(__file__).resolve().parents[2]
ENCODING: Final = "o200k_base"
TOKENS: Final = 1_000
STEP: Final = 7_919  # a prime: places of cuts do not come again soon

Count = Callable[[str], int]


# Texts


def english() -> str:
    return "\n".join(text for _, text in sorted(pydoc_data.topics.topics.items()))


def code() -> str:
    library = Path(sysconfig.get_paths()["stdlib"])
    names = (
        "argparse",
        "asyncio/base_events",
        "ast",
        "datetime",
        "decimal",
        "subprocess",
        "typing",
    )
    paths = [library / f"{name}.py" for name in names]
    return "\n".join(path.read_text() for path in paths if path.exists())


WHO = [
    "我们",
    "他们",
    "大家",
    "很多人",
    "这个城市",
    "那位老师",
    "研究人员",
    "公司",
    "政府部门",
    "医生",
    "学生",
    "年轻人",
    "专家",
    "记者",
    "消费者",
    "工程师",
    "当地居民",
    "许多家庭",
    "科学家",
    "艺术家",
    "农民",
    "运动员",
    "投资者",
    "管理团队",
    "志愿者",
    "作者",
    "读者",
]
WHEN = [
    "今天",
    "昨天",
    "最近",
    "去年",
    "目前",
    "近年来",
    "从那时起",
    "在过去的十年里",
    "随着技术的发展",
    "在这种情况下",
    "根据最新的统计数据",
    "为了解决这个问题",
    "与此同时",
    "事实上",
    "总的来说",
    "尽管如此",
    "在会议结束之后",
]
HOW = [
    "已经",
    "开始",
    "正在",
    "逐渐",
    "终于",
    "仍然",
    "经常",
    "很快",
    "不得不",
    "希望能够",
    "决定",
    "打算",
    "努力",
    "重新",
    "共同",
]
DID = [
    "讨论",
    "研究",
    "改变",
    "提高",
    "发现",
    "支持",
    "分析",
    "解决",
    "建立",
    "推动",
    "完善",
    "学习",
    "使用",
    "关注",
    "介绍",
    "参加",
    "设计",
    "保护",
    "增加",
    "减少",
    "理解",
    "影响",
    "记录",
    "整理",
    "比较",
    "评价",
    "组织",
    "观察",
    "创造",
    "选择",
]
WHAT = [
    "经济发展的方向",
    "人工智能的应用",
    "传统文化",
    "环境保护的重要性",
    "新的工作方式",
    "教育制度",
    "产品的质量",
    "市场的需求",
    "语言模型",
    "交通运输",
    "历史遗产",
    "健康的生活习惯",
    "国际合作",
    "社会责任",
    "网络安全",
    "数据的准确性",
    "城市规划",
    "食品价格",
    "能源结构",
    "科学实验的结果",
    "孩子们的成长",
    "这本小说",
    "山里的气候",
    "河流与湖泊",
    "电影和音乐",
    "旅游业",
    "银行贷款",
    "医疗服务",
    "空气质量",
    "软件系统",
]
THEN = [
    "因此引起了广泛的讨论",
    "但是结果并不理想",
    "所以需要更多的时间",
    "也取得了明显的进步",
    "这让所有人都感到惊讶",
    "并且得到了大家的认可",
    "可是没有人知道原因",
    "从而降低了成本",
    "还带来了新的机会",
    "而且效果越来越好",
    "不过价格仍然很高",
    "这对未来有重要意义",
]


def chinese() -> str:
    dice = random.Random(5)

    def sentence() -> str:
        parts = [dice.choice(WHEN), "\uff0c"] if dice.random() < 0.6 else []
        parts += [dice.choice(WHO), dice.choice(HOW), dice.choice(DID), dice.choice(WHAT)]
        if dice.random() < 0.3:
            parts += ["和", dice.choice(WHAT)]
        if dice.random() < 0.6:
            parts += ["\uff0c", dice.choice(THEN)]
        if dice.random() < 0.1:
            parts += [f"\uff08约{dice.randrange(2, 900)}次\uff09"]
        return "".join([*parts, "。"])

    return "\n".join("".join(sentence() for _ in range(6)) for _ in range(3_000))


TEXTS: Final = {"English": english, "code": code, "Chinese": chinese}


def cuts(text: str, length: int) -> Iterator[str]:
    place = 0
    while True:
        yield text[place : place + length]
        place = (place + STEP) % (len(text) - length)


# Peers


def tiktoken_encoding(cache: Path) -> Any:
    vocabularies = ROOT / "tools" / "vocabularies.py"
    os.spawnv(os.P_WAIT, sys.executable, [sys.executable, str(vocabularies), "cache", str(cache)])
    os.environ["TIKTOKEN_CACHE_DIR"] = str(cache)
    return importlib.import_module("tiktoken").get_encoding(ENCODING)


def fastokens_encode(cache: Path, pattern: str) -> Callable[[str], Any]:
    """Made from tiktoken's own file, which is the one of `cache` that is larger."""
    file = max(cache.iterdir(), key=lambda path: path.stat().st_size)
    fastokens = importlib.import_module("fastokens")
    tokenizer = fastokens.Tokenizer.from_tiktoken(str(file), pattern=pattern, special_tokens={})
    encode: Callable[[str], Any] = tokenizer.encode_ordinary
    return encode


def quicktok_note() -> str:
    """What is installed under this name trains vocabularies of its own, unless it can load one."""
    offered = dir(importlib.import_module("quicktok"))
    version = importlib.metadata.version("quicktok")
    if any("encoding" in name.lower() for name in offered):
        raise SystemExit(f"quicktok {version} has encodings now: measure it")
    return f"quicktok {version} has no {ENCODING}, only BasicTokenizer, which trains: left out\n"


class Peers:
    """Each peer's cheapest call that counts, and its ids."""

    def __init__(self, cache: Path) -> None:
        tiktoken = tiktoken_encoding(cache)
        fast = fastokens_encode(cache, tiktoken._pat_str)
        bindings = importlib.import_module("bpe_openai._bindings")
        bpe = bindings.tokenizer_for_encoding(ENCODING)
        self.ours = TokenCounter.for_model("gpt-4o")
        self.ids: dict[str, Callable[[str], list[int]]] = {
            "tiktoken": tiktoken.encode_ordinary,
            "sentinel": self.ours.encode,
            "bpe-openai": bpe.encode,
            "fastokens": lambda text: list(fast(text).ids),
        }
        self.counts: dict[str, Count] = {
            "sentinel": self.ours.count,
            "tiktoken": lambda text: len(tiktoken.encode_ordinary(text)),
            "bpe-openai": bpe.count,
            "fastokens": lambda text: len(fast(text)),
        }

    def agree(self, texts: list[str]) -> None:
        """SystemExit if one gives other ids than tiktoken."""
        for text in texts:
            expected = self.ids["tiktoken"](text)
            for name, ids in self.ids.items():
                if ids(text) != expected:
                    raise SystemExit(f"{name} gives other ids than tiktoken: not a peer")
            for name, count in self.counts.items():
                if count(text) != len(expected):
                    raise SystemExit(f"{name} gives another count than tiktoken: not a peer")


def way_of(call: Callable[[str], object], text: str, length: int) -> Way:
    def way(repetitions: int) -> None:
        cut = cuts(text, length)
        for _ in range(repetitions):
            call(next(cut))

    return way


def length_of(text: str, count: Count) -> int:
    """How many characters of it are `TOKENS` tokens, on average."""
    sample = text[: 200 * TOKENS]
    return len(sample) * TOKENS // count(sample)


# Rows


def unseen_texts(peers: Peers) -> None:
    for kind, make in TEXTS.items():
        text = make()
        length = length_of(text, peers.ours.count)
        cut = cuts(text, length)
        peers.agree([next(cut) for _ in range(20)])
        ways = {name: way_of(call, text, length) for name, call in peers.counts.items()}
        ways["(cutting the text alone)"] = way_of(lambda _: None, text, length)
        title = f"count 1k tokens, {ENCODING}, unseen {kind}, {length} characters"
        # Short rounds and many: between two of them another process may have the processor.
        figures = measure(title, ways, rounds=120, round_seconds=0.002)
        report(figures, bars=(Bar("tiktoken", 1 / 8), Bar("fastokens", 1.0)))


def worst_cases(peers: Peers) -> None:
    """One unbroken piece: twice the length must not be four times the time."""
    dice = random.Random(7)
    letters = "".join(dice.choices("abcdefghij", k=40_000))
    for kind, text in {"'a'": "a" * 40_000, "random a-j": letters}.items():
        half = text[:20_000]
        peers.agree([half])
        ways: dict[str, Way] = {
            "sentinel": way_again(peers.ours.count, half),
            "sentinel, 40,000": way_again(peers.ours.count, text),
        }
        for peer in ("tiktoken", "bpe-openai", "fastokens"):
            ways[peer] = way_again(peers.counts[peer], half)
        figures = measure(f"count {kind} x 20,000", ways, rounds=20, round_seconds=0.002)
        report(figures, bars=(Bar("tiktoken", 1.0),))
        times = figures.nanoseconds["sentinel, 40,000"] / figures.nanoseconds["sentinel"]
        verdict = "met" if times <= 2.5 else "NOT MET"
        sys.stdout.write(f"  bar: twice the text at most 2.5 x the time: {times:.2f}, {verdict}\n")


def way_again(call: Callable[[str], object], text: str) -> Way:
    def way(repetitions: int) -> None:
        for _ in range(repetitions):
            call(text)

    return way


def main() -> int:
    sys.stdout.write(quicktok_note())
    with tempfile.TemporaryDirectory() as cache:
        peers = Peers(Path(cache))
        unseen_texts(peers)
        worst_cases(peers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
