"""Flags beat environment beats file; the form without a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sentinel.config import Settings, json_schema, load
from sentinel.errors import ConfigError

Write = Callable[[str], Path]

SMALL = """
version: 1
server: {port: 1000, host: 127.0.0.1, limits: {headers: 50}}
admin: {key: ${ADMIN}}
upstreams: {a: {base_url: "http://127.0.0.1:9", credentials: [{key: ${UP}}]}}
routes: {"*": {targets: [{upstream: a}]}}
"""
SECRETS = {"ADMIN": "an-admin-key-of-ours", "UP": "sk-up"}


def paths(error: ConfigError) -> list[str]:
    return [fault.path for fault in error.faults]


def test_flags_beat_environment_beats_file(write: Write) -> None:
    environ = SECRETS | {"SENTINEL_SERVER__PORT": "2000", "SENTINEL_LOG__LEVEL": "debug"}
    settings = load(write(SMALL), environ, {"server.port": 3000})
    assert settings.server.port == 3000
    assert settings.log.level == "debug"
    assert settings.server.limits.headers == 50
    assert load(write(SMALL), environ).server.port == 2000
    assert load(write(SMALL), SECRETS).server.port == 1000


def test_the_environment_reaches_inner_members(write: Write) -> None:
    environ = SECRETS | {"SENTINEL_SERVER__LIMITS__BODY_BYTES": "2MiB"}
    limits = load(write(SMALL), environ).server.limits
    assert (limits.body_bytes, limits.headers) == (2 << 20, 50)


def test_the_environment_names_the_file_and_a_path_beats_it(write: Write, tmp_path: Path) -> None:
    environ = SECRETS | {"SENTINEL_CONFIG": str(write(SMALL))}
    assert load(environ=environ).server.port == 1000
    other = tmp_path / "other.yaml"
    other.write_text(SMALL.replace("1000", "1001"))
    assert load(other, environ).server.port == 1001


def test_an_empty_variable_counts_as_not_set(write: Write) -> None:
    assert load(write(SMALL), SECRETS | {"SENTINEL_SERVER__PORT": ""}).server.port == 1000


def test_the_pepper_may_come_from_the_environment(write: Write) -> None:
    settings = load(write(SMALL), SECRETS | {"SENTINEL_PEPPER": "p" * 32})
    assert settings.server.pepper is not None
    assert settings.server.pepper.get_secret_value() == "p" * 32


def test_b5_a_variable_that_names_no_setting_is_a_fault(write: Write) -> None:
    environ = SECRETS | {"SENTINEL_SERVER__PRT": "1", "SENTINEL_NOWHERE__X": "1"}
    with pytest.raises(ConfigError) as caught:
        load(write(SMALL), environ)
    assert paths(caught.value) == ["SENTINEL_NOWHERE__X", "server.prt"]
    assert "set by SENTINEL_SERVER__PRT" in str(caught.value)


def test_b5_every_missing_variable_is_told_together_with_the_rest(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(SMALL.replace("port: 1000", "port: x")), {})
    assert paths(caught.value) == ["admin.key", "server.port", "upstreams.a.credentials[0].key"]


def test_a_flag_heals_what_the_file_could_not_say(write: Write) -> None:
    settings = load(write(SMALL), {"UP": "sk-up"}, {"admin.key": "given-by-flag-instead"})
    assert settings.admin.key is not None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xff", "UTF-8"),
        (b"", "is empty"),
        (b"- 1", "a mapping"),
        (b"x" * (2 << 20), "larger"),
    ],
)
def test_b5_a_file_that_is_no_configuration_is_named(
    tmp_path: Path, raw: bytes, message: str
) -> None:
    path = tmp_path / "sentinel.yaml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=message) as caught:
        load(path, {})
    assert "sentinel.yaml" in str(caught.value)


def test_b5_a_missing_or_unnamed_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.yaml", {})
    with pytest.raises(ConfigError, match="no configuration file"):
        load(None, {})


def test_one_url_is_a_whole_configuration() -> None:
    settings = Settings.for_upstream(
        "https://api.openai.com/v1", credential="sk-up", api_key="operators-own-key"
    )
    assert list(settings.routes) == ["*"]
    assert settings.configured_keys()[0].secret == "operators-own-key"
    assert settings.admin.key is None


def test_the_form_without_a_file_takes_environment_and_flags_too() -> None:
    settings = Settings.for_upstream(
        "http://localhost:11434/v1",
        environ={"SENTINEL_SERVER__PORT": "2000", "SENTINEL_LOG__LEVEL": "error"},
        overrides={"server.port": "0"},
    )
    assert (settings.server.port, settings.log.level) == (0, "error")


def test_b5_the_form_without_a_file_tells_faults_alike() -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.for_upstream("nowhere", api_key="short", overrides={"server.port": "x"})
    assert paths(caught.value) == ["keys[0].key", "server.port", "upstreams.upstream.base_url"]


def test_the_schema_describes_the_file_for_editors(sound: dict[str, Any]) -> None:
    schema = json_schema()
    assert set(sound) <= set(schema["properties"])
    assert schema["additionalProperties"] is False
    timeouts = schema["$defs"]["TimeoutSettings"]["properties"]
    assert {"connect", "first_byte", "idle", "total"} == set(timeouts)


def test_admin_routes_may_share_the_servers_port(sound: dict[str, Any]) -> None:
    sound["admin"]["port"] = None
    assert Settings.parse(sound).admin.port is None
