"""`sentinel check`: is the configuration fit to start with? `sentinel schema`: what is it like?"""

from __future__ import annotations

import os
from argparse import Namespace

from sentinel.cli.output import print_json

__all__ = ["run", "run_schema"]


def run(arguments: Namespace) -> int:
    """Read and check the whole configuration as `serve` would; start nothing."""
    from sentinel.config import load

    settings = load(arguments.config, os.environ)
    if arguments.json:
        print_json({"ok": True, "settings": settings.redacted_dump()})
        return 0
    counts = (
        (len(settings.upstreams), "upstream"),
        (len(settings.routes), "route"),
        (len(settings.accounts), "account"),
        (len(settings.keys), "key"),
    )
    said = ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
    print(f"The configuration is sound: {said}.")
    return 0


def run_schema(arguments: Namespace) -> int:
    """Print the JSON schema of the configuration file."""
    from sentinel.config import json_schema

    print_json(json_schema())
    return 0
