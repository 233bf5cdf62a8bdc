"""`python -m sentinel.testing --port 9100`: the scripted upstream as a process of its own.

Prints its base URL as the first line once it listens, and runs until SIGINT or SIGTERM.
`--faults` prints what a directive may say instead.
"""

from __future__ import annotations

import argparse
import asyncio
import signal

from sentinel.testing.scripts import FAULTS, Behaviour
from sentinel.testing.upstream import ScriptedUpstream

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m sentinel.testing", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument(
        "--default", default="", metavar="SCRIPT", help="behaviour of calls without a directive"
    )
    parser.add_argument("--faults", action="store_true", help="list the names fail= takes")
    options = parser.parse_args()
    if options.faults:
        width = max(map(len, FAULTS))
        print("\n".join(f"{name:{width}}  {does}" for name, does in FAULTS.items()))
        return
    asyncio.run(_serve(options.host, options.port, Behaviour.parse(options.default)))


async def _serve(host: str, port: int, default: Behaviour) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with ScriptedUpstream(host, port, default=default, max_calls=100) as upstream:
        print(upstream.base_url, flush=True)
        await stop.wait()


if __name__ == "__main__":
    main()
