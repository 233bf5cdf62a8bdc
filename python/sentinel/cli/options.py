"""From the flags of a command to settings, and to the place where keys are kept."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sentinel.accounts import KeyStore, load_pepper, prepare_data_dir
from sentinel.errors import AccountsError, ConfigError, Fault

if TYPE_CHECKING:
    from sentinel.config import Settings

__all__ = ["KeyPlace", "find_keys", "place_of", "serve_settings"]

# Flags that belong to the form without a configuration file.
_NO_FILE: Final = ("upstream_key_env", "api_key", "api_key_env", "rpm")


def serve_settings(arguments: Namespace, environ: Mapping[str, str]) -> Settings:
    """The settings `sentinel serve` runs with; ConfigError names flags like members."""
    from sentinel.config import Settings, load

    faults = _flag_faults(arguments)
    api_key = arguments.api_key or _variable(arguments, "api_key_env", environ, faults)
    credential = _variable(arguments, "upstream_key_env", environ, faults)
    admin_key = _variable(arguments, "admin_key_env", environ, faults)
    overrides = _overrides(arguments)
    if admin_key is not None:
        overrides["admin.key"] = admin_key
    if faults:
        raise ConfigError(faults)
    if arguments.upstream is None:
        return load(arguments.config, environ, overrides)
    return Settings.for_upstream(
        arguments.upstream,
        credential=credential,
        api_key=api_key,
        environ=environ,
        overrides=overrides,
    )


def _flag_faults(arguments: Namespace) -> list[Fault]:
    faults = []
    if arguments.door == "native":
        faults.append(Fault("--door", "native is not available yet: use asgi"))
    if arguments.upstream is not None and arguments.config is not None:
        faults.append(Fault("--upstream", "goes without --config: the file names upstreams"))
    if arguments.api_key is not None and arguments.api_key_env is not None:
        faults.append(Fault("--api-key", "goes without --api-key-env"))
    if arguments.upstream is None:
        faults += [
            Fault(f"--{name.replace('_', '-')}", "goes with --upstream only")
            for name in _NO_FILE
            if getattr(arguments, name) is not None
        ]
    return faults


def _variable(
    arguments: Namespace, flag: str, environ: Mapping[str, str], faults: list[Fault]
) -> str | None:
    """The value of the environment variable that a `--...-env` flag names."""
    name = getattr(arguments, flag)
    if name is None:
        return None
    value = environ.get(name)
    if not value:
        message = f"the environment variable {name} is not set"
        faults.append(Fault(f"--{flag.replace('_', '-')}", message))
    return value


def _overrides(arguments: Namespace) -> dict[str, object]:
    flags = {
        "server.host": arguments.host,
        "server.port": arguments.port,
        "server.loops": arguments.loops,
        "server.data_dir": arguments.data_dir,
        "server.insecure": arguments.insecure or None,
    }
    given: dict[str, object] = {path: value for path, value in flags.items() if value is not None}
    if arguments.rpm is not None:
        given["accounts.default.limits.rpm"] = arguments.rpm
    return given


@dataclass(frozen=True)
class KeyPlace:
    """Where keys are kept, with what pepper, and which accounts the configuration adds."""

    data_dir: Path
    pepper: str | None = field(default=None, repr=False)
    accounts: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        return self.data_dir / "accounts.db"

    def load_pepper(self) -> bytes:
        """The pepper; made, with its directory, if this is the first use."""
        return load_pepper(prepare_data_dir(self.data_dir), self.pepper)

    def open(self, *, create: bool = False) -> KeyStore:
        """The key store; AccountsError when there is none and `create` is not asked for."""
        if not create and not self.database.is_file():
            raise AccountsError(f"no keys in {self.data_dir}: make one with `sentinel keys create`")
        store = KeyStore(self.database, self.load_pepper())
        store.ensure_accounts(self.accounts)
        return store


def find_keys(arguments: Namespace, environ: Mapping[str, str] = os.environ) -> KeyPlace:
    """The place that `--data-dir`, `--config` and the environment name, in this order.

    `--data-dir` alone reads no configuration: keys can be made where its secrets are not at hand.
    """
    named = arguments.config or environ.get("SENTINEL_CONFIG")
    if named and (arguments.config or arguments.data_dir is None):
        from sentinel.config import load

        overrides = {"server.data_dir": arguments.data_dir} if arguments.data_dir else {}
        return place_of(load(named, environ, overrides))
    data_dir = arguments.data_dir or environ.get("SENTINEL_SERVER__DATA_DIR") or "./sentinel-data"
    pepper = environ.get("SENTINEL_SERVER__PEPPER") or environ.get("SENTINEL_PEPPER")
    return KeyPlace(Path(data_dir), pepper or None)


def place_of(settings: Settings) -> KeyPlace:
    """The place that `settings` name."""
    pepper = settings.server.pepper
    return KeyPlace(
        settings.data_dir,
        pepper.get_secret_value() if pepper else None,
        settings.configured_accounts(),
    )
