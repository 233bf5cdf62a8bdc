"""How the demo looks: numbered scenes, labelled lines, text as it streams in."""

from __future__ import annotations

import sys

__all__ = ["Screen", "usd"]

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def usd(micro_usd: int) -> str:
    """Micro-USD as a price people can read, to the last micro."""
    return f"{micro_usd / 1e6:.6f} USD"


class Screen:
    """Prints to stdout unless `quiet`; colours only where a person is looking."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._styled = sys.stdout.isatty()
        self._scene = 0

    def title(self, text: str) -> None:
        self._print(f"{self._style(_BOLD, text)}\n")

    def scene(self, text: str) -> None:
        self._scene += 1
        self._print(f"\n{self._style(_BOLD, f'{self._scene}. {text}')}\n")

    def line(self, label: str, text: str) -> None:
        self._print(f"   {self._style(_DIM, f'{label:<9}')} {text}\n")

    def block(self, text: str) -> None:
        for line in text.splitlines():
            self._print(f"   {line}\n")

    def begin(self, label: str) -> None:
        self._print(f"   {self._style(_DIM, f'{label:<9}')} ")

    def piece(self, text: str) -> None:
        self._print(text)

    def end(self) -> None:
        self._print("\n")

    def _style(self, code: str, text: str) -> str:
        return f"{code}{text}{_PLAIN}" if self._styled else text

    def _print(self, text: str) -> None:
        if not self._quiet:
            print(text, end="", flush=True)
