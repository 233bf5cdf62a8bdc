"""`Settings`: the whole configuration, checked whole, immutable.

Made from a file (`load`), from a plain mapping (`Settings.parse`), or from one URL
(`Settings.for_upstream`). What exists is valid: references point at something, secrets are
`SecretStr` and stay out of every repr, dump and message.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, ValidationError, model_validator

from sentinel.config.caching import CacheSettings
from sentinel.config.faults import Found, Location, from_validation, to_faults
from sentinel.config.fields import AccountId, ModelPattern, UpstreamName
from sentinel.config.layers import apply_environment, apply_overrides
from sentinel.config.limits import rules_of
from sentinel.config.models import (
    AccountSettings,
    AdminSettings,
    KeySettings,
    LogSettings,
    RedisSettings,
    RouteSettings,
    ServerSettings,
    UpstreamSettings,
    UsageSettings,
)
from sentinel.config.rules import broken_rules
from sentinel.config.section import Section
from sentinel.config.tokens import TokenSettings
from sentinel.config.units import Whole
from sentinel.errors import ConfigError
from sentinel.types import ConfiguredKey

__all__ = ["Settings"]


class Settings(Section):
    """Everything a gateway is told before it starts."""

    version: Annotated[Literal[1], PlainValidator(Whole(1, 1).parse)]
    server: ServerSettings = Field(default_factory=ServerSettings)
    admin: AdminSettings = Field(default_factory=AdminSettings)
    upstreams: dict[UpstreamName, UpstreamSettings]
    routes: dict[ModelPattern, RouteSettings]
    accounts: dict[AccountId, AccountSettings] = Field(default_factory=dict)
    keys: tuple[KeySettings, ...] = ()
    cache: CacheSettings = Field(default_factory=CacheSettings)
    tokens: TokenSettings = Field(default_factory=TokenSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    usage: UsageSettings = Field(default_factory=UsageSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        if found := list(broken_rules(self.model_dump())):
            raise ConfigError(to_faults(found))
        return self

    @classmethod
    def parse(cls, document: Mapping[str, object]) -> Self:
        """Settings from a plain mapping of the file's shape; ConfigError lists every fault."""
        return cls.assemble(document)

    @classmethod
    def assemble(
        cls,
        document: object,
        found: Iterable[Found] = (),
        *,
        lines: Mapping[Location, int] | None = None,
        origins: Mapping[Location, str] | None = None,
    ) -> Self:
        """`parse` for a document that has a history.

        `found` holds the faults met on the way, `lines` where its places stand in the file,
        `origins` which variable or flag set them.
        """
        all_found = list(found)
        settings = None
        try:
            settings = cls.model_validate(document)
        except ValidationError as error:
            named = dict(document) if isinstance(document, Mapping) else {}
            broken = list(broken_rules(named))
            all_found += from_validation(error, _member_names(), rules_apart=bool(broken))
            all_found += broken
        if settings is None or all_found:
            raise ConfigError(to_faults(all_found, lines, origins))
        return settings

    @classmethod
    def for_upstream(
        cls,
        url: str,
        *,
        kind: str = "openai",
        credential: str | None = None,
        api_key: str | None = None,
        admin_key: str | None = None,
        insecure: bool = False,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> Self:
        """The form without a file: every model name goes to `url`.

        `credential` is what the upstream wants, `api_key` what our callers present. `environ`
        and `overrides` are layered on top as `load` does; the environment is not read unless
        it is given.
        """
        upstream: dict[str, object] = {"base_url": url, "kind": kind}
        if credential is not None:
            upstream["credentials"] = [{"key": credential}]
        document: dict[str, object] = {
            "version": 1,
            "server": {"insecure": insecure},
            "admin": {"key": admin_key},
            "upstreams": {"upstream": upstream},
            "routes": {"*": {"targets": [{"upstream": "upstream"}]}},
            "keys": [{"id": "operator", "key": api_key}] if api_key is not None else [],
        }
        found: list[Found] = []
        origins = apply_environment(document, environ or {}, found)
        origins |= apply_overrides(document, overrides or {})
        return cls.assemble(document, found, origins=origins)

    @property
    def data_dir(self) -> Path:
        """The directory that holds keys, pepper, records and the control socket."""
        return Path(self.server.data_dir)

    @property
    def usage_database(self) -> Path:
        """Where records go: `usage.database`, else `usage.db` in the data directory."""
        return Path(self.usage.database) if self.usage.database else self.data_dir / "usage.db"

    def configured_keys(self) -> tuple[ConfiguredKey, ...]:
        """The keys of the file in the shape the key store takes."""
        return tuple(
            ConfiguredKey(
                id=key.id,
                account=key.account,
                scopes=key.scopes,
                models=key.models,
                digest=key.hash.lower() if key.hash else None,
                secret=key.key.get_secret_value() if key.key else None,
                rules=rules_of(key.limits),
            )
            for key in self.keys
        )

    def configured_accounts(self) -> dict[str, str | None]:
        """Account id -> external id where the file gives one."""
        return {name: entry.external_id for name, entry in self.accounts.items()}

    def redacted_dump(self) -> dict[str, Any]:
        """The settings as JSON types, every secret replaced by stars."""
        dump: dict[str, Any] = json.loads(self.model_dump_json())
        return dump


def _member_names() -> set[str]:
    """Every member any section has, for "did you mean"."""
    return {name for section in _sections(Section) for name in section.model_fields}


def _sections(base: type[Section]) -> Iterator[type[Section]]:
    for section in base.__subclasses__():
        yield section
        yield from _sections(section)
