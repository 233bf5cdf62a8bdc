"""Draws docs/images/demo.svg: runs `sentinel demo` on a terminal and draws what it printed.

    python tools/demo_picture.py [FILE]

Nothing is staged: the text, the times and the costs are those of this one run, in front of the
scripted upstream. Long lines are broken between words, as a picture cannot be scrolled sideways.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

PICTURE: Final = Path(__file__).resolve().parent.parent / "docs" / "images" / "demo.svg"
COMMAND: Final = (sys.executable, "-m", "sentinel.cli", "demo")
COLUMNS: Final = 104
INDENT: Final = 13  # where the text behind a label begins

CELL_WIDTH: Final = 8.4
LINE_HEIGHT: Final = 20
MARGIN: Final = 24
COLOURS: Final = {"0": "#d7dae0", "1": "#ffffff", "2": "#8b93a5"}
FONT: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"

STYLE = re.compile(r"\x1b\[([012])m")


@dataclass(frozen=True)
class Piece:
    """A run of text in one style; the style is the terminal's: 0 plain, 1 bold, 2 dim."""

    style: str
    text: str


Line = list[Piece]


def capture() -> str:
    """What the demo writes to a terminal."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(COMMAND, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = b"".join(_read(ours))
    os.close(ours)
    text = written.decode().replace("\r\n", "\n")
    if process.returncode != 0:
        raise SystemExit(f"the demo ended with {process.returncode}:\n{text}")
    return text


def _read(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(descriptor, 4096)
        except OSError:  # the other end of a terminal is closed
            return
        if not piece:
            return
        yield piece


def styled(text: str) -> list[Line]:
    """The lines of a terminal's text, cut where the style changes."""
    lines: list[Line] = []
    style = "0"
    for row in text.rstrip("\n").split("\n"):
        line: Line = []
        for index, part in enumerate(STYLE.split(row)):
            if index % 2:
                style = part
            elif part:
                line.append(Piece(style, part))
        lines.append(line)
    return lines


def wrapped(line: Line) -> Iterator[Line]:
    """A line in rows of at most COLUMNS cells, the later ones indented below the first's text."""
    row: Line = []
    used = 0
    for piece in line:
        text = piece.text
        while used + len(text) > COLUMNS:
            cut = text.rfind(" ", 0, COLUMNS - used + 1)
            if cut <= 0:
                break
            yield [*row, Piece(piece.style, text[:cut])]
            row, used, text = [Piece(piece.style, " " * INDENT)], INDENT, text[cut + 1 :]
        row.append(Piece(piece.style, text))
        used += len(text)
    yield row


def draw(rows: list[Line]) -> str:
    """The rows as an SVG document."""
    width = round(COLUMNS * CELL_WIDTH) + 2 * MARGIN
    height = len(rows) * LINE_HEIGHT + 2 * MARGIN
    texts = [text for number, row in enumerate(rows) for text in _texts(row, number)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-family="{FONT}" font-size="14">',
            "<title>What `sentinel demo` prints</title>",
            f'<rect width="{width}" height="{height}" rx="10" fill="#1b1f27"/>',
            *texts,
            "</svg>",
            "",
        ]
    )


def _texts(row: Line, number: int) -> Iterator[str]:
    """One element for each run of words, put on its column whatever font the viewer has."""
    column = 0
    y = MARGIN + LINE_HEIGHT * number + 14
    for piece in row:
        for match in re.finditer(r"\S+(?: \S+)*", piece.text):
            x = MARGIN + (column + match.start()) * CELL_WIDTH
            length = len(match[0]) * CELL_WIDTH
            weight = ' font-weight="bold"' if piece.style == "1" else ""
            yield (
                f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}" '
                f'lengthAdjust="spacingAndGlyphs" fill="{COLOURS[piece.style]}"{weight}>'
                f"{escape(match[0])}</text>"
            )
        column += len(piece.text)


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    lines = [[Piece("2", "$ "), Piece("1", "sentinel demo")], [], *styled(capture())]
    rows = [row for line in lines for row in wrapped(line)]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(draw(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
