"""`sentinel replay`: what would the semantic cache have done with these prompts?"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sentinel.cli.output import print_json, table
from sentinel.errors import ConfigError, Fault

if TYPE_CHECKING:
    from sentinel.semantic import PairReport, ReplayReport, TextEmbedder

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Replay a stream, or warm up with one and ask pairs."""
    _check(arguments)
    return _pairs(arguments) if arguments.pairs else _stream(arguments)


def _check(arguments: Namespace) -> None:
    faults = []
    if bool(arguments.stream) == bool(arguments.warm or arguments.pairs):
        faults.append(Fault("", "give --stream FILE, or --warm FILE with --pairs FILE"))
    elif bool(arguments.warm) != bool(arguments.pairs):
        faults.append(Fault("", "--warm and --pairs go together"))
    if faults:
        raise ConfigError(faults)


def _stream(arguments: Namespace) -> int:
    from sentinel.semantic import mean_of, read_rows, replay

    rows = read_rows(arguments.stream)
    chosen = _chosen(arguments)
    with _faults():
        reports = replay(rows, _embedder(), **chosen, shuffles=arguments.shuffles)
    if arguments.json:
        said = {"shuffles": [asdict(report) for report in reports], "mean": mean_of(reports)}
        print_json({**_terms(arguments), **said})
    else:
        print(_stream_table(reports))
    return 0


def _pairs(arguments: Namespace) -> int:
    from sentinel.semantic import read_pairs, read_rows, replay_pairs

    warm, pairs = read_rows(arguments.warm), read_pairs(arguments.pairs)
    chosen = _chosen(arguments)
    with _faults():
        reports = replay_pairs(warm, pairs, _embedder(), **chosen)
    totals = {
        "same_answer": _share(report for report in reports if report.same_answer),
        "different_answer": _share(report for report in reports if not report.same_answer),
    }
    if arguments.json:
        categories = [{**asdict(report), "share": report.share} for report in reports]
        print_json({**_terms(arguments), "categories": categories, "served_share": totals})
    else:
        print(_pairs_table(reports))
        print(f"served of what should be: {_percent(totals['same_answer'])}")
        print(f"served of what should not be: {_percent(totals['different_answer'])}")
    return 0


def _terms(arguments: Namespace) -> dict[str, Any]:
    names = ("policy", "max_error", "of", "judge_error", "seed")
    return {name: getattr(arguments, name) for name in names}


def _chosen(arguments: Namespace) -> dict[str, Any]:
    """The terms as a replay takes them."""
    from sentinel.semantic import PolicyChoice

    try:
        return {**_terms(arguments), "policy": PolicyChoice.parse(arguments.policy)}
    except ValueError as fault:
        raise ConfigError([Fault("--policy", str(fault))]) from None


@contextmanager
def _faults() -> Iterator[None]:
    """A number out of range is the command's fault; errors derived from ValueError are not."""
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        raise ConfigError([Fault("", str(error))]) from None


def _embedder() -> TextEmbedder:
    """The local model: loaded once, for this command."""
    from sentinel.semantic import LocalEmbedder

    return LocalEmbedder()


def _share(reports: Iterable[PairReport]) -> float | None:
    known = list(reports)
    pairs = sum(report.pairs for report in known)
    return sum(report.served for report in known) / pairs if pairs else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _stream_table(reports: list[ReplayReport]) -> str:
    from sentinel.semantic import mean_of

    shares = (
        "hit_rate",
        "exact_share",
        "net_hit_rate",
        "error_of_hits",
        "error_of_all",
        "worst_window_1000",
    )
    counts = ("first_hit", "judge_calls", "audit_calls")
    lines = [(str(number), asdict(report)) for number, report in enumerate(reports, 1)]
    lines.append(("mean", mean_of(reports)))
    cells = [
        [name]
        + [_percent(said[share]) for share in shares]
        + ["-" if said[count] is None else f"{said[count]:.0f}" for count in counts]
        for name, said in lines
    ]
    return table(["shuffle", *shares, *counts], cells)


def _pairs_table(reports: list[PairReport]) -> str:
    cells = [
        [
            r.category,
            "yes" if r.same_answer else "no",
            str(r.pairs),
            str(r.served),
            f"{r.share:.1%}",
        ]
        for r in reports
    ]
    return table(["category", "same answer", "pairs", "served", "share"], cells)
