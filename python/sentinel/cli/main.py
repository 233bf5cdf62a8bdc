"""The command line: what there is to say, and what a failure looks like.

Exit codes: 0 done, 1 could not be done, 2 the command or the configuration is at fault. An
expected failure is one sentence (or the list of faults), never a traceback. The heavy imports
(pydantic, FastAPI) happen in the command that needs them.
"""

from __future__ import annotations

import os
import platform
import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from sentinel.cli import check, demo, keys, replay, serve
from sentinel.cli.output import note, print_json, show_failure
from sentinel.errors import ConfigError, SentinelError
from sentinel.types import DEFAULT_ACCOUNT, SCOPES

__all__ = ["build_parser", "main"]

_DISTRIBUTION = "sentinel-llm-gateway"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = build_parser().parse_args(argv)
    run: Callable[[Namespace], int] = arguments.run
    try:
        return run(arguments)
    except SentinelError as failure:
        show_failure(failure, arguments.json)
        return 2 if isinstance(failure, ConfigError) else 1
    except ModuleNotFoundError as missing:
        if (missing.name or "sentinel").split(".")[0] == "sentinel":
            raise
        extras = "gateway,demo" if missing.name == "openai" else "gateway"
        note(f"sentinel: {missing.name} is missing: pip install '{_DISTRIBUTION}[{extras}]'")
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def build_parser() -> ArgumentParser:
    """All commands with their flags."""
    parser = ArgumentParser(prog="sentinel", description="An LLM gateway in one wheel.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _serve(_command(commands, "serve", serve.run, "run the gateway"))
    checking = _command(commands, "check", check.run, "check the configuration, list every fault")
    _config(checking)
    _keys(commands)
    _demo(_command(commands, "demo", demo.run, "see a gateway at work, in a minute"))
    _replay(_command(commands, "replay", replay.run, "what the semantic cache would have done"))
    _command(commands, "schema", check.run_schema, "print the configuration's JSON schema")
    _command(commands, "version", _version, "print the version")
    return parser


def _command(
    commands: _SubParsersAction[ArgumentParser],
    name: str,
    run: Callable[[Namespace], int],
    text: str,
) -> ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def _config(parser: ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="configuration (else SENTINEL_CONFIG)")


def _data_dir(parser: ArgumentParser) -> None:
    parser.add_argument("--data-dir", metavar="DIR", help="where keys and records are kept")


def _serve(parser: ArgumentParser) -> None:
    _config(parser)
    _data_dir(parser)
    parser.add_argument("--door", choices=("native", "asgi"), default="asgi", help="who listens")
    parser.add_argument("--host", metavar="H", help="address to listen on")
    parser.add_argument("--port", metavar="P", help="port to listen on, 0 for any")
    parser.add_argument("--loops", metavar="N", help="engine loops, or auto")
    parser.add_argument("--insecure", action="store_true", help="no key needed; this machine only")
    parser.add_argument("--admin-key-env", metavar="NAME", help="variable with the admin key")
    alone = parser.add_argument_group("without a configuration file")
    alone.add_argument("--upstream", metavar="URL", help="send every model name there")
    alone.add_argument(
        "--upstream-key-env", metavar="NAME", help="variable with the upstream's key"
    )
    alone.add_argument("--api-key", metavar="KEY", help="the key that callers present")
    alone.add_argument(
        "--api-key-env", metavar="NAME", help="variable with the key callers present"
    )
    alone.add_argument("--rpm", metavar="N", help="requests a minute")


def _demo(parser: ArgumentParser) -> None:
    parser.add_argument("--upstream", metavar="URL", help="a real upstream, not the scripted one")
    parser.add_argument("--upstream-key-env", metavar="NAME", help="variable with its key")
    parser.add_argument("--model", default="gpt-4o-mini", help="what to ask for (%(default)s)")


def _replay(parser: ArgumentParser) -> None:
    parser.add_argument("--stream", metavar="FILE", help='lines of {"text", "answer_id"}')
    parser.add_argument("--warm", metavar="FILE", help="a stream to learn from, before --pairs")
    parser.add_argument(
        "--pairs", metavar="FILE", help='lines of {"a", "b", "same_answer", "category"}'
    )
    parser.add_argument("--policy", default="risk", help="risk, fixed:0.9 or exact (%(default)s)")
    parser.add_argument(
        "--max-error", type=float, default=0.01, metavar="E", help="the bound (%(default)s)"
    )
    parser.add_argument("--of", choices=("hits", "requests"), default="hits", help="its measure")
    parser.add_argument(
        "--judge-error", type=float, default=0.0, metavar="E", help="how often the judge errs"
    )
    parser.add_argument(
        "--shuffles", type=int, default=0, metavar="N", help="orders to try; 0: as recorded"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of orders and audits")


def _keys(commands: _SubParsersAction[ArgumentParser]) -> None:
    text = "make, list and revoke keys"
    group = commands.add_parser("keys", help=text, description=f"{text.capitalize()}.")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    create = _command(actions, "create", keys.run_create, "make a key and print it once")
    create.add_argument(
        "--account", default=DEFAULT_ACCOUNT, help="who pays (default: %(default)s)"
    )
    create.add_argument("--name", default="", help="what to call the key")
    create.add_argument(
        "--scope", action="append", default=[], choices=SCOPES, help="repeat for several; none: all"
    )
    create.add_argument(
        "--model", action="append", default=[], metavar="PATTERN", help="likewise; none: all"
    )
    listing = _command(actions, "list", keys.run_list, "list issued keys")
    revoke = _command(actions, "revoke", keys.run_revoke, "revoke a key for good")
    revoke.add_argument("id", metavar="ID", help="the key's id, as `keys list` shows it")
    hashing = _command(actions, "hash", keys.run_hash, "print the digest of a key read from stdin")
    for parser in (create, listing, revoke, hashing):
        _config(parser)
        _data_dir(parser)


def _version(arguments: Namespace) -> int:
    try:
        installed = version(_DISTRIBUTION)
    except PackageNotFoundError:
        installed = "unknown"
    if arguments.json:
        print_json({"sentinel": installed, "python": platform.python_version()})
    else:
        print(f"sentinel {installed} (Python {platform.python_version()})")
    return 0
