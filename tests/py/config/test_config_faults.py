"""B5, D6: a configuration is checked whole; every fault is told at once, with its path."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sentinel.config import Settings, load
from sentinel.config.faults import format_path
from sentinel.config.models import ServerSettings
from sentinel.errors import ConfigError

Faults = Callable[[Any], dict[str, str]]
Place = tuple[str | int, ...]


def put(document: Any, place: Place, value: object) -> None:
    for step in place[:-1]:
        document = document[step]
    document[place[-1]] = value


def test_b5_a_sound_configuration_has_no_fault(sound: dict[str, Any], faults: Faults) -> None:
    assert faults(sound) == {}


def test_b5_a_configuration_that_says_everything_has_no_fault(
    full: dict[str, Any], faults: Faults
) -> None:
    assert faults(full) == {}


BROKEN: list[tuple[Place, object, str, str]] = [
    (("version",), 2, "version", "from 1 to 1"),
    (("server", "port"), 70000, "server.port", "from 0 to 65535"),
    (("server", "port"), True, "server.port", "whole number"),
    (("server", "host"), "two words", "server.host", "host name or an IP"),
    (("server", "loops"), 0, "server.loops", "from 1"),
    (("server", "prt"), 1, "server.prt", 'did you mean "port"'),
    (("server", "limits"), {"body_bytes": "tiny"}, "server.limits.body_bytes", "size"),
    (("server", "drain_delay"), "soon", "server.drain_delay", "duration"),
    (("server", "pepper"), "short", "server.pepper", "32 to 1024 bytes"),
    (("server", "limits"), [], "server.limits", "must be a mapping"),
    (("admin", "key"), "short", "admin.key", "16 to 512"),
    (("admin", "port"), 8080, "admin.port", "the server's own port"),
    (("upstreams",), {}, "upstreams", "at least one"),
    (("upstreams", "a b"), {"base_url": "https://x"}, "upstreams.a b", "1 to 64 letters"),
    (("upstreams", "openai", "base_url"), None, "upstreams.openai.base_url", "is required"),
    (("upstreams", "openai", "base_url"), "ftp://x", "upstreams.openai.base_url", "http://"),
    (("upstreams", "openai", "kind"), "bard", "upstreams.openai.kind", "'openai'"),
    (("upstreams", "openai", "auth_header"), "Host", "upstreams.openai.auth_header", "cannot"),
    (("upstreams", "openai", "auth_header"), "X\r\nY", "upstreams.openai.auth_header", "header"),
    (("upstreams", "openai", "credentials", 0, "key"), "a b",
     "upstreams.openai.credentials[0].key", "visible ASCII"),
    (("upstreams", "openai", "credentials", 1), "sk-x",
     "upstreams.openai.credentials[1]", "must be a mapping"),
    (("upstreams", "openai", "path_template"), "/a/{nope}",
     "upstreams.openai.path_template", "{model}"),
    (("upstreams", "openai", "path_template"), "/a/../b", "upstreams.openai.path_template", "path"),
    (("upstreams", "openai", "ca_file"), "/nowhere/ca.pem", "upstreams.openai.ca_file", "No such"),
    (("upstreams", "openai", "timeouts"), {"connect": 0},
     "upstreams.openai.timeouts.connect", "from 1ms"),
    (("upstreams", "azure", "query"), {}, "upstreams.azure.query.api-version", "is required"),
    (("upstreams", "azure", "query"), {"api-version": "a&b=c"},
     "upstreams.azure.query.api-version", "letters"),
    (("upstreams", "openai", "kind"), "python", "upstreams.openai.base_url", "leave it out"),
    (("routes",), {}, "routes", "at least one"),
    (("routes", "a*b*"), {"targets": [{"upstream": "openai"}]}, "routes.a*b*", "one '*'"),
    (("routes", "gpt-4o", "targets"), [], "routes.gpt-4o.targets", "must not be empty"),
    (("routes", "gpt-4o", "targets", 0, "upstream"), "x",
     "routes.gpt-4o.targets[0].upstream", 'no upstream named "x"'),
    (("routes", "gpt-4o", "targets", 0, "weight"), 0, "routes.gpt-4o.targets[0].weight", "from 1"),
    (("routes", "gpt-4o", "targets", 0, "model"), "a*", "routes.gpt-4o.targets[0].model", "model"),
    (("routes", "gpt-4o", "aliases", 0), "claude-*", "routes.gpt-4o.aliases[0]", "is taken"),
    (("accounts", "a/b"), {}, "accounts.a/b", 'no account named "a"'),
    (("accounts", "acme/1/2/3/4"), {}, "accounts.acme/1/2/3/4", "at most 4 levels"),
    (("accounts", "acme", "parent"), "acme/search", "accounts.acme.parent", "stands at the top"),
    (("accounts", "../up"), {}, "accounts.../up", "segments of letters"),
    (("accounts", "acme", "external_id"), " ", "accounts.acme.external_id", "not blank"),
    (("accounts", "acme", "external_id"), "cust-7", "accounts.acme/search.external_id", "already"),
    (("keys", 0, "account"), "nobody", "keys[0].account", 'no account named "nobody"'),
    (("keys", 0, "hash"), "xyz", "keys[0].hash", "64 hexadecimal"),
    (("keys", 0, "key"), "another-key-of-ours", "keys[0].hash", "either"),
    (("keys", 0, "hash"), None, "keys[0].hash", "either"),
    (("keys", 0, "scopes"), ["admin"], "keys[0].scopes[0]", "'chat' or 'embeddings'"),
    (("keys", 0, "models"), "gpt-4o", "keys[0].models", "must be a list"),
    (("keys", 0, "role"), "admin", "keys[0].role", "unknown member"),
    (("keys", 1, "id"), "ci", "keys[1].id", "another key"),
    (("keys", 1, "id"), "key_00", "keys[1].id", "issued keys"),
    (("keys", 1, "key"), "sk-sen-" + "a" * 33, "keys[1].key", "not a key that Sentinel issued"),
    (("keys", 1, "key"), "admin-key-of-sixteen", "admin.key", "same as another key"),
    (("usage",), {"prices": "/nowhere.json"}, "usage.prices", "No such"),
    (("usage",), {"prices": {"version": "1", "models": [{"model": "x"}]}},
     "usage.prices.models[0].prompt", "micro-USD"),
    (("log", "level"), "loud", "log.level", "'debug'"),
    (("log", "sample"), 2, "log.sample", "from 0 to 1"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "path", "message"), BROKEN)
def test_b5_one_broken_member_is_one_fault_at_its_path(
    sound: dict[str, Any], faults: Faults, place: Place, value: object, path: str, message: str
) -> None:
    put(sound, place, value)
    found = faults(sound)
    assert path in found
    assert message in found[path]


def test_b5_a_number_too_long_to_print_is_a_fault_too(
    sound: dict[str, Any], faults: Faults
) -> None:
    sound["server"]["port"] = 10**5000
    assert faults(sound) == {"server.port": "must be from 0 to 65535"}


def test_b5_all_faults_are_told_at_once(sound: dict[str, Any], faults: Faults) -> None:
    sound["server"]["port"] = -1
    sound["server"]["color"] = "blue"
    sound["routes"]["gpt-4o"]["targets"][0]["upstream"] = "x"
    sound["keys"][0]["account"] = "nobody"
    sound["accounts"]["acme/search"]["parent"] = "other"
    del sound["version"]
    assert sorted(faults(sound)) == [
        "accounts.acme/search.parent",
        "keys[0].account",
        "routes.gpt-4o.targets[0].upstream",
        "server.color",
        "server.port",
        "version",
    ]


INERT: list[tuple[Place, object]] = [
    (("routes", "gpt-4o", "cache"), {"semantic": {"max_error": 0.01}}),
    (("routes", "gpt-4o", "cache"), {"semantic": {}}),
    (("redis",), {"url": "redis://localhost"}),
]


@pytest.mark.parametrize(("place", "value"), INERT)
def test_b5_a_member_this_version_does_not_keep_is_refused_not_ignored(
    sound: dict[str, Any], faults: Faults, place: Place, value: object
) -> None:
    put(sound, place, value)
    (message,) = faults(sound).values()
    assert "not supported yet" in message


def test_inert_members_may_be_written_as_absent(sound: dict[str, Any], faults: Faults) -> None:
    sound["redis"] = {"url": None}
    sound["routes"]["gpt-4o"] |= {"cache": {"semantic": None}, "limits": None}
    assert faults(sound) == {}


@pytest.mark.parametrize(
    "url",
    [
        "api.openai.com",
        "https://",
        "https://user:pass@host/v1",
        "https://host/v1?x=1",
        "https://host/v1#x",
        "https://host:0/",
        "https://host:99999/",
        "https://host:/",
        "https://ho st/",
        "https://host\\@evil/",
        "https://bücher.example/",
        "https://host/a/../b",
        "https://host/%2e%2e/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://0.0.0.0:1/",
        "http://[::]/",
        "http://[127.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "file:///etc/passwd",
        "https://host/\r\nX: y",
        "",
    ],
)
def test_s6_a_base_url_that_could_be_misread_is_refused(
    sound: dict[str, Any], faults: Faults, url: str
) -> None:
    sound["upstreams"]["openai"]["base_url"] = url
    assert list(faults(sound)) == ["upstreams.openai.base_url"]


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "example.com", "::"])
def test_insecure_mode_may_only_listen_on_this_machine(
    sound: dict[str, Any], faults: Faults, host: str
) -> None:
    sound["server"] |= {"insecure": True, "host": host}
    assert "server.insecure" in faults(sound)
    sound["server"]["host"] = "::1"
    assert faults(sound) == {}


def test_a_start_without_keys_is_allowed_because_keys_can_be_made_later(
    sound: dict[str, Any], faults: Faults
) -> None:
    sound["keys"] = []
    assert faults(sound) == {}


def test_an_injected_provider_has_a_kind_and_no_address(
    sound: dict[str, Any], faults: Faults
) -> None:
    sound["upstreams"]["mine"] = {"kind": "python"}
    assert faults(sound) == {}


@pytest.mark.parametrize("document", [None, 1, "x", [], {1: 2}, {}, {"keys": {"a": 1}}])
def test_b5_what_is_no_configuration_at_all_is_still_told_in_faults(
    faults: Faults, document: object
) -> None:
    assert faults(document)


def test_settings_built_in_code_keep_the_same_rules(sound: dict[str, Any]) -> None:
    settings = Settings.parse(sound)
    members: dict[str, Any] = {name: getattr(settings, name) for name in Settings.model_fields}
    members["server"] = ServerSettings(insecure=True, host="10.0.0.1")
    with pytest.raises(ValidationError, match="may only listen on this machine"):
        Settings(**members)


def places(value: object, here: Place = ()) -> Iterator[Place]:
    """Every place in a document, inner ones too."""
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    if isinstance(value, list):
        items = list(enumerate(value))
    for step, inner in items:
        yield (*here, step)
        yield from places(inner, (*here, step))


JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=5)
    | st.lists(st.integers() | st.text(max_size=3), max_size=3)
    | st.dictionaries(st.text(max_size=5), st.integers() | st.none(), max_size=3)
    | st.sampled_from(["\ud800", "a\0b", "a\r\nb", "x" * 10_000, 10**5000, object()])
)


@pytest.mark.parametrize("junk", [object(), b"\xff", 1j], ids=["object", "bytes", "complex"])
def test_b5_junk_in_any_place_is_a_fault_at_exactly_that_place(
    full: dict[str, Any], faults: Faults, junk: object
) -> None:
    for place in list(places(full)):
        document = copy.deepcopy(full)
        put(document, place, junk)
        assert format_path(place) in faults(document)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data(), junk=JUNK)
def test_b5_r16_whatever_stands_anywhere_is_taken_or_is_a_config_error(
    full: dict[str, Any], faults: Faults, data: st.DataObject, junk: object
) -> None:
    document = copy.deepcopy(full)
    put(document, data.draw(st.sampled_from(list(places(full)))), junk)
    assert "" not in faults(document)


def test_a_fault_names_its_line(write: Callable[[str], Path]) -> None:
    path = write("version: 1\nserver:\n  port: 99999\nupstreams: {}\nroutes: {}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    told = [str(fault) for fault in caught.value.faults]
    assert "server.port: must be from 0 to 65535 (line 3)" in told


CANARY = "canary-secret-value-1234"


def test_s8_settings_never_show_a_secret(sound: dict[str, Any]) -> None:
    sound["admin"]["key"] = CANARY
    sound["server"]["pepper"] = CANARY * 2
    sound["upstreams"]["openai"]["credentials"][0]["key"] = CANARY
    sound["keys"][1]["key"] = CANARY + "-app"
    settings = Settings.parse(sound)
    shown = f"{settings!r} {settings} {settings.redacted_dump()} {settings.configured_keys()!r}"
    assert CANARY not in shown


@pytest.mark.parametrize("secret", [CANARY + "\n", [CANARY], {"key": CANARY}])
def test_s8_a_fault_never_repeats_what_stood_in_a_secrets_place(
    sound: dict[str, Any], faults: Faults, secret: object
) -> None:
    sound["admin"]["key"] = secret
    sound["server"]["pepper"] = secret
    sound["upstreams"]["openai"]["credentials"] = [{"key": secret}, CANARY]
    sound["upstreams"]["openai"]["base_url"] = f"https://user:{CANARY}@host"
    sound["keys"][1]["key"] = secret
    assert len(faults(sound)) >= 5
    assert CANARY not in str(faults(sound))


def test_s15_a_redacted_dump_shows_everything_but_secrets(sound: dict[str, Any]) -> None:
    dump = Settings.parse(sound).redacted_dump()
    assert dump["admin"]["key"] == "**********"
    assert dump["upstreams"]["openai"]["credentials"][0]["key"] == "**********"
    assert dump["upstreams"]["openai"]["timeouts"]["total"] == "10m"
    assert dump["routes"]["gpt-4o"]["targets"][0]["weight"] == 3
