"""`sentinel serve`: settle the settings, make a first key where there is none, hand over."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import TYPE_CHECKING

from sentinel.cli.options import place_of, serve_settings
from sentinel.cli.output import note, print_json

if TYPE_CHECKING:
    from sentinel.config import Settings

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Serve until told to stop."""
    settings = serve_settings(arguments, os.environ)
    if arguments.upstream is not None and not settings.server.insecure and not settings.keys:
        _first_key(settings, arguments.json)
    from sentinel.api.server import serve

    return serve(settings)


def _first_key(settings: Settings, as_json: bool) -> None:
    """Nobody could call a gateway without keys: make one, print it this once."""
    with place_of(settings).open(create=True) as store:
        working = [key for key in store.list_keys() if not key.revoked]
        if working:
            note(f"Keys: {len(working)} in {settings.data_dir} (`sentinel keys create` makes more)")
            return
        record, key = store.create_key(name="first")
    if as_json:
        print_json({"id": record.id, "key": key})
        return
    print(f"A key for your application, shown only this once:\n\n    {key}\n", flush=True)
