"""`sentinel demo`: a gateway, driven by the official openai SDK, in a minute.

A real `sentinel serve` in a process of its own, in front of the scripted upstream that ships with
the package (or of a real one, by `--upstream` or `OPENAI_API_KEY`). Everything it makes lies in a
temporary directory and is gone afterwards.
"""

from __future__ import annotations

import os
from argparse import Namespace

from sentinel.cli.output import print_json

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Play all scenes; 0 when each went as it should."""
    from sentinel.cli.demo.play import play
    from sentinel.cli.demo.screen import Screen
    from sentinel.cli.demo.stage import stage

    screen = Screen(quiet=arguments.json)
    with stage(arguments, os.environ) as built:
        outcome = play(built, screen)
    if arguments.json:
        print_json(outcome)
    return 0 if outcome["ok"] else 1
