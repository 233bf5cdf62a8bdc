"""YAML text -> plain dicts, lists and scalars, by a reader that cannot build anything else.

PyYAML only parses here (`yaml.compose` gives a tree of nodes); the values are made below, so an
object tag has nothing that could construct it. Read is the small core of YAML: mappings with text
keys, lists, text, true/false, null, decimal numbers. Dates, octal, `yes`/`no`, merge keys are
plain text or unknown members, never surprises. Duplicate keys are faults.

`${NAME}` stands for the environment variable NAME, also inside longer text and inside flow
mappings (where bare braces would end the value); `$${NAME}` is the text `${NAME}`. Both are
marked with private-use characters of equal length before parsing, so columns stay true. What a
variable holds is data: it is never read as YAML and never expanded again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from sentinel.config.faults import Found, Location

__all__ = ["MAX_DOCUMENT_BYTES", "Document", "read_document"]

MAX_DOCUMENT_BYTES: Final = 1 << 20
_MAX_NODES: Final = 50_000
_MAX_DEPTH: Final = 32


@dataclass
class Document:
    """What a file says: its value, the faults met on the way, the line of every place."""

    value: object = None
    found: list[Found] = field(default_factory=list)
    lines: dict[Location, int] = field(default_factory=dict)


def read_document(text: str, environ: Mapping[str, str]) -> Document:
    """Parse `text` and expand `${NAME}` from `environ`. Never raises for what the text holds."""
    document = Document()
    if any(mark in text for mark in _MARKS):
        document.found.append(Found((), "holds a private-use character (U+E000 to U+E002)"))
        return document
    try:
        root = yaml.compose(_REFERENCE.sub(_mark, text), Loader=_Loader)
    except yaml.YAMLError as error:
        document.found.append(Found((), _syntax(error)))
        return document
    except (ValueError, OverflowError):  # an escape in quotes that is no character
        document.found.append(Found((), "is not YAML: it holds an escape that is no character"))
        return document
    except RecursionError:
        document.found.append(Found((), _TOO_DEEP))
        return document
    if root is None:
        document.found.append(Found((), "is empty"))
        return document
    document.value = _Reader(environ, document).value(root, ())
    return document


_OPEN, _CLOSE, _ESCAPE = "\ue000", "\ue001", "\ue002"
_MARKS: Final = (_OPEN, _CLOSE, _ESCAPE)
_REFERENCE = re.compile(r"(\$?)\$\{([^{}\s]*)\}")
_MARKED = re.compile(f"{_OPEN}{_OPEN}([^{_CLOSE}]*){_CLOSE}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOO_DEEP: Final = f"is nested deeper than {_MAX_DEPTH} levels"


def _mark(match: re.Match[str]) -> str:
    opening = _ESCAPE * 3 if match[1] else _OPEN * 2
    return f"{opening}{match[2]}{_CLOSE}"


def _unescape(text: str) -> str:
    return text.replace(_ESCAPE * 3, "${").replace(_CLOSE, "}")


def _unmark(text: str) -> str:
    return _unescape(text.replace(_OPEN * 2, "${"))


class _Loader(yaml.SafeLoader):
    """The scanner and parser of PyYAML with our own, smaller idea of what a plain scalar means."""

    # PyYAML declares it as a member of the instance, and copies it before it is changed.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_TAG: Final = "tag:yaml.org,2002:"
_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
)
for _kind, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"(?:{_pattern})$"), _first)


def _syntax(error: yaml.YAMLError) -> str:
    """The parser's complaint without the excerpt it quotes: a file may hold secrets."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "is not YAML"
    mark = error.problem_mark
    problem = error.problem or "unexpected text"
    quoted = re.sub(r"'[^']{2,}'", "that", problem)
    return f"is not YAML: line {mark.line + 1}, column {mark.column + 1}: {_unmark(quoted)}"


class _Reader:
    """One walk over the node tree. Faults go to the document; a faulty place reads as None."""

    def __init__(self, environ: Mapping[str, str], document: Document) -> None:
        self._environ = environ
        self._document = document
        self._nodes_left = _MAX_NODES

    def value(self, node: yaml.Node, where: Location) -> object:
        self._document.lines.setdefault(where, node.start_mark.line + 1)
        self._nodes_left -= 1
        if self._nodes_left == 0:
            self._fault((), f"holds more than {_MAX_NODES} values")
        if self._nodes_left <= 0:
            return None
        if len(where) > _MAX_DEPTH:
            return self._fault(where, _TOO_DEEP)
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, where)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.value(item, (*where, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and kind in {"str", "null", "bool", "int", "float"}:
            return self._scalar(node.value, kind, where)
        return self._fault(where, "tags are not allowed here: write plain text, lists or mappings")

    def _fault(self, where: Location, message: str) -> str | None:
        """Note a fault and give what the faulty place reads as."""
        self._document.found.append(Found(where, message))
        return None

    def _mapping(self, node: yaml.MappingNode, where: Location) -> dict[str, object]:
        members: dict[str, object] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._fault(where, f"line {key.start_mark.line + 1}: a key must be plain text")
                continue
            name = _unmark(key.value)
            if name in members:
                line = key.start_mark.line + 1
                self._fault((*where, name), f"is written twice, again on line {line}")
                continue
            members[name] = self.value(item, (*where, name))
        return members

    def _scalar(self, text: str, kind: str, where: Location) -> object:
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind in ("int", "float") and len(text) <= 40:
            try:
                return int(text) if kind == "int" else float(text)
            except ValueError:
                return self._fault(where, "is not a number")
        if kind != "str":
            return self._fault(where, "is not a number" if kind != "bool" else "is not a boolean")
        return self._expand(text, where)

    def _expand(self, text: str, where: Location) -> str | None:
        faults = ['"${" has no "}"'] if "${" in text else []

        def variable(match: re.Match[str]) -> str:
            name = match[1]
            if not _NAME.fullmatch(name):
                faults.append(f'"${{{name}}}" does not name an environment variable')
            elif name not in self._environ:
                faults.append(f"the environment variable {name} is not set")
            return _OPEN  # replaced below, after the file's own marks are gone

        names = [match[1] for match in _MARKED.finditer(text)]
        pieces = _unescape(_MARKED.sub(variable, text)).split(_OPEN)
        if faults:
            return self._fault(where, "; ".join(faults))
        values = [self._environ[name] for name in names]
        return pieces[0] + "".join(v + piece for v, piece in zip(values, pieces[1:], strict=True))
