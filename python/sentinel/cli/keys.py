"""`sentinel keys`: make, list, revoke, hash. A gateway on the directory is told at once."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace
from dataclasses import asdict
from typing import Any

from sentinel.accounts import KeyRecord, key_digest, notify
from sentinel.cli.options import KeyPlace, find_keys
from sentinel.cli.output import note, print_json, table, when
from sentinel.errors import AccountsError, ControlError

__all__ = ["run_create", "run_hash", "run_list", "run_revoke"]


def run_create(arguments: Namespace) -> int:
    """Make a key and print it; there is no second chance to see it."""
    place = find_keys(arguments)
    with place.open(create=True) as store:
        record, key = store.create_key(
            arguments.account, arguments.name, arguments.scope, arguments.model
        )
    told, failure = _tell(place)
    if arguments.json:
        print_json({**_document(record), "key": key, "gateway_told": told})
    else:
        print(f"A new key, shown only this once:\n\n    {key}\n\n{_details(record)}")
    return _report(told, failure, f"No gateway runs on {place.data_dir} yet.")


def run_list(arguments: Namespace) -> int:
    """List issued keys; the keys themselves are not kept and cannot be shown."""
    with find_keys(arguments).open() as store:
        records = store.list_keys()
    if arguments.json:
        print_json({"keys": [_document(record) for record in records]})
    elif records:
        print(table(_HEAD, [_row(record) for record in records]))
    else:
        note("No keys yet: make one with `sentinel keys create`.")
    return 0


def run_revoke(arguments: Namespace) -> int:
    """Revoke a key for good; its running streams end."""
    place = find_keys(arguments)
    with place.open() as store:
        record = store.revoke_key(arguments.id)
    told, failure = _tell(place)
    if arguments.json:
        print_json({**_document(record), "gateway_told": told})
    else:
        print(f"Revoked {record.id}.")
    return _report(told, failure, f"No gateway runs on {place.data_dir}.")


def run_hash(arguments: Namespace) -> int:
    """Print the digest of a key read from the terminal or stdin, for `keys[].hash` of the file."""
    pepper = find_keys(arguments).load_pepper()
    typed = getpass.getpass("Key: ") if sys.stdin.isatty() else sys.stdin.readline()
    key = typed.strip("\r\n")
    if not 16 <= len(key) <= 512 or not all("!" <= character <= "~" for character in key):
        raise AccountsError("a key is 16 to 512 visible ASCII characters")
    digest = key_digest(pepper, key).hex()
    if arguments.json:
        print_json({"hash": digest})
    else:
        print(digest)
    return 0


def _tell(place: KeyPlace) -> tuple[bool, ControlError | None]:
    try:
        return notify(place.data_dir), None
    except ControlError as error:
        return False, error


def _report(told: bool, failure: ControlError | None, alone: str) -> int:
    if failure is not None:
        note(f"sentinel: written, but {failure}")
        return 1
    note("The running gateway knows already." if told else alone)
    return 0


def _document(record: KeyRecord) -> dict[str, Any]:
    return asdict(record)


_HEAD = ("ID", "ACCOUNT", "NAME", "ENDS IN", "SCOPES", "MODELS", "MADE (UTC)", "STATE")


def _row(record: KeyRecord) -> tuple[str, ...]:
    state = "works" if record.revoked_us is None else f"revoked {when(record.revoked_us)}"
    scopes, models = ", ".join(record.scopes) or "all", ", ".join(record.models) or "all"
    made = when(record.created_us)
    return (record.id, record.account, record.name, record.hint, scopes, models, made, state)


def _details(record: KeyRecord) -> str:
    wanted = ("ID", "ACCOUNT", "NAME", "SCOPES", "MODELS")
    details = zip(_HEAD, _row(record), strict=True)
    shown = [(name.lower(), text) for name, text in details if name in wanted and text]
    return "\n".join(f"{name:<8} {text}" for name, text in shown)
