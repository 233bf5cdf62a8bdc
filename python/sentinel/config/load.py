"""Read the configuration file, lay environment and flags over it, check the whole.

The only place of Sentinel that opens the file. Relative paths in it are relative to the working
directory, as paths in flags are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sentinel.config.document import MAX_DOCUMENT_BYTES, Document, read_document
from sentinel.config.faults import Found, Location, to_faults
from sentinel.config.layers import apply_environment, apply_overrides
from sentinel.config.settings import Settings
from sentinel.errors import ConfigError, Fault

__all__ = ["CONFIG_VARIABLE", "load"]

CONFIG_VARIABLE = "SENTINEL_CONFIG"


def load(
    path: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """Settings from the file `path`, else from the one `SENTINEL_CONFIG` names.

    `environ` is the process environment unless given; it expands `${NAME}` and supplies
    `SENTINEL_<SECTION>__<NAME>`. `overrides` are flags by dotted place (`{"server.port": 80}`).
    Raises ConfigError with every fault found.
    """
    environ = os.environ if environ is None else environ
    source = path or environ.get(CONFIG_VARIABLE)
    if not source:
        message = f"no configuration file: name one, or set {CONFIG_VARIABLE}"
        raise ConfigError([Fault("", message)])
    document = read_document(_read(Path(source)), environ)
    if any(not fault.where for fault in document.found):
        raise ConfigError(_named(document, source))
    if not isinstance(document.value, dict):
        raise ConfigError([Fault("", f"{source} must hold a mapping")])
    origins: dict[Location, str] = apply_environment(document.value, environ, document.found)
    origins |= apply_overrides(document.value, overrides or {})
    found = [fault for fault in document.found if fault.where not in origins]
    return Settings.assemble(document.value, found, lines=document.lines, origins=origins)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_DOCUMENT_BYTES + 1)
        if len(raw) > MAX_DOCUMENT_BYTES:
            raise ConfigError([Fault("", f"{path} is larger than {MAX_DOCUMENT_BYTES} bytes")])
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError([Fault("", f"{path} cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        where = f"byte {error.start}"
        raise ConfigError([Fault("", f"{path} is not UTF-8 text ({where})")]) from None


def _named(document: Document, source: str | Path) -> list[Fault]:
    """The faults of a document that could not be read to its end, with the file's name."""
    whole = [Found((), f"{source} {fault.message}") for fault in document.found if not fault.where]
    return to_faults([*whole, *(fault for fault in document.found if fault.where)])
