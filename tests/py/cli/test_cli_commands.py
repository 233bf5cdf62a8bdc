"""The command line: results on stdout, one sentence for a failure, exit codes 0, 1, 2."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from sentinel.accounts import ControlServer, KeyStore, key_digest, load_pepper, well_formed
from sentinel.cli import main
from sentinel.config import Settings

GOOD = """
version: 1
server: {data_dir: DATA}
upstreams: {a: {base_url: "http://127.0.0.1:9"}}
routes: {"*": {targets: [{upstream: a}]}}
accounts: {acme: {}, acme/search: {}}
"""
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("SENTINEL_CONFIG", raising=False)
    path = tmp_path / "sentinel.yaml"
    path.write_text(GOOD.replace("DATA", str(tmp_path / "data")))
    return str(path)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("SENTINEL_CONFIG", raising=False)
    return str(tmp_path / "data")


def printed(capsys: Captured) -> Any:
    return json.loads(capsys.readouterr().out)


def test_check_says_a_sound_configuration_is_sound(config: str, capsys: Captured) -> None:
    assert main(["check", "--config", config]) == 0
    assert "1 upstream, 1 route, 2 accounts, 0 keys" in capsys.readouterr().out
    assert main(["check", "--config", config, "--json"]) == 0
    assert printed(capsys)["ok"] is True


def test_b5_check_lists_every_fault_with_its_path_and_exits_2(
    config: str, capsys: Captured
) -> None:
    text = Path(config).read_text()
    broken = text.replace("upstream: a}", "upstream: b}").replace("version: 1", "version: 3")
    Path(config).write_text(broken)
    assert main(["check", "--config", config]) == 2
    told = capsys.readouterr().err
    assert 'routes.*.targets[0].upstream: no upstream named "b" (line 5)' in told
    assert "version: must be from 1 to 1 (line 2)" in told
    assert main(["check", "--config", config, "--json"]) == 2
    document = printed(capsys)
    assert document["ok"] is False
    assert [fault["path"] for fault in document["faults"]] == [
        "routes.*.targets[0].upstream",
        "version",
    ]


def test_check_without_a_file_says_how_to_name_one(data: str, capsys: Captured) -> None:
    assert main(["check"]) == 2
    assert "SENTINEL_CONFIG" in capsys.readouterr().err


def test_a_key_is_made_listed_and_revoked(data: str, capsys: Captured) -> None:
    place = ["--data-dir", data, "--json"]
    assert main(["keys", "create", "--name", "ci", "--scope", "chat", *place]) == 0
    made = printed(capsys)
    assert well_formed(made["key"])
    assert made["gateway_told"] is False
    assert main(["keys", "list", *place]) == 0
    (listed,) = printed(capsys)["keys"]
    assert (listed["id"], listed["name"], listed["scopes"]) == (made["id"], "ci", ["chat"])
    assert "key" not in listed
    assert "digest" not in listed
    assert main(["keys", "revoke", made["id"], *place]) == 0
    assert printed(capsys)["revoked_us"] > 0


def test_people_get_the_key_once_and_a_tidy_table(data: str, capsys: Captured) -> None:
    assert main(["keys", "create", "--data-dir", data]) == 0
    made = capsys.readouterr()
    assert "sk-sen-" in made.out
    assert "No gateway runs" in made.err
    assert main(["keys", "list", "--data-dir", data]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0].split()[:3] == ["ID", "ACCOUNT", "NAME"]
    assert listed[1].endswith("works")
    assert "sk-sen-" not in str(listed)


async def test_a_running_gateway_is_told_at_once(data: str, capsys: Captured) -> None:
    load_pepper(Path(data))
    seen: list[int] = []
    async with ControlServer(Path(data), lambda: seen.append(1)):
        code = await asyncio.to_thread(main, ["keys", "create", "--data-dir", data])
    assert (code, seen) == (0, [1])
    assert "knows already" in capsys.readouterr().err


async def test_a_gateway_that_fails_to_follow_is_exit_1_but_the_key_is_shown(
    data: str, capsys: Captured
) -> None:
    load_pepper(Path(data))

    def broken() -> None:
        raise OSError

    async with ControlServer(Path(data), broken):
        code = await asyncio.to_thread(main, ["keys", "create", "--data-dir", data])
    captured = capsys.readouterr()
    assert code == 1
    assert "sk-sen-" in captured.out
    assert "could not take the change" in captured.err


def test_accounts_of_the_configuration_may_own_keys(config: str, capsys: Captured) -> None:
    make = ["keys", "create", "--config", config, "--json", "--account"]
    assert main([*make, "acme/search"]) == 0
    assert printed(capsys)["account"] == "acme/search"
    assert main([*make, "nobody"]) == 1
    assert printed(capsys)["error"] == 'no account "nobody"'


def test_hash_prints_what_the_configuration_wants(
    data: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("operators-own-key\n"))
    assert main(["keys", "hash", "--data-dir", data]) == 0
    told = capsys.readouterr().out.strip()
    assert told == key_digest(load_pepper(Path(data)), "operators-own-key").hex()
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    assert main(["keys", "hash", "--data-dir", data]) == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["keys", "list"], "no keys in"),
        (["keys", "revoke", "key_none"], "no keys in"),
    ],
)
def test_an_expected_failure_is_one_sentence(
    data: str, capsys: Captured, argv: list[str], message: str
) -> None:
    assert main([*argv, "--data-dir", data]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not Path(data).exists()


@pytest.mark.parametrize("argv", [[], ["nothing"], ["keys"], ["keys", "create", "--scope", "x"]])
def test_a_command_that_does_not_exist_exits_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Stands where the server's door is, and keeps what it was given."""
    given: list[Settings] = []

    def serve(settings: Settings) -> int:
        given.append(settings)
        return 0

    door = types.ModuleType("sentinel.api.server")
    door.serve = serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentinel.api", types.ModuleType("sentinel.api"))
    monkeypatch.setitem(sys.modules, "sentinel.api.server", door)
    return given


def test_serve_with_one_url_makes_one_key_and_prints_it_once(
    data: str, served: list[Settings], capsys: Captured
) -> None:
    argv = ["serve", "--upstream", "http://127.0.0.1:9", "--port", "0", "--data-dir", data]
    assert main(argv) == 0
    assert "sk-sen-" in capsys.readouterr().out
    assert main(argv) == 0
    again = capsys.readouterr()
    assert "sk-sen-" not in again.out + again.err
    assert served[0].server.port == 0
    with KeyStore(Path(data) / "accounts.db", load_pepper(Path(data))) as store:
        assert len(store.list_keys()) == 1


def test_serve_takes_keys_from_the_variables_it_is_told(
    data: str, served: list[Settings], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UP_KEY", "sk-upstream")
    monkeypatch.setenv("OUR_KEY", "operators-own-key")
    monkeypatch.setenv("ADMIN_KEY", "administrators-key")
    flags = ["--upstream-key-env", "UP_KEY", "--api-key-env", "OUR_KEY"]
    flags += ["--admin-key-env", "ADMIN_KEY", "--data-dir", data]
    assert main(["serve", "--upstream", "http://127.0.0.1:9", *flags]) == 0
    (settings,) = served
    assert settings.upstreams["upstream"].credentials[0].key.get_secret_value() == "sk-upstream"
    assert settings.configured_keys()[0].secret == "operators-own-key"
    assert settings.admin.key is not None
    assert capsys.readouterr().out == ""


def test_d22_serve_with_rpm_limits_the_account_of_its_keys(
    data: str, served: list[Settings]
) -> None:
    argv = ["serve", "--upstream", "http://127.0.0.1:9", "--data-dir", data, "--insecure"]
    assert main([*argv, "--rpm", "5"]) == 0
    (settings,) = served
    limits = settings.accounts["default"].limits
    assert limits is not None
    assert limits.rpm == 5


def test_serve_with_a_file_lets_flags_win(config: str, served: list[Settings]) -> None:
    assert main(["serve", "--config", config, "--host", "::1", "--port", "7", "--insecure"]) == 0
    (settings,) = served
    assert (settings.server.host, settings.server.port) == ("::1", 7)
    assert settings.server.insecure is True


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--door", "native"], "not available yet"),
        (["--rpm", "0"], "from 1 to 1000000000000000"),
        (["--port", "x"], "whole number"),
        (["--api-key", "short"], "16 to 512"),
        (["--api-key-env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set"),
        (["--insecure", "--host", "0.0.0.0"], "this machine"),
        (["--config", "x.yaml"], "without --config"),
    ],
)
def test_serve_refuses_what_it_cannot_do_with_exit_2(
    data: str, served: list[Settings], capsys: Captured, flags: list[str], message: str
) -> None:
    argv = ["serve", "--upstream", "http://127.0.0.1:9", "--data-dir", data]
    assert main([*argv, *flags]) == 2
    assert message in capsys.readouterr().err
    assert served == []
    assert not Path(data).exists()


def test_serve_tells_flags_that_need_an_upstream(
    config: str, served: list[Settings], capsys: Captured
) -> None:
    assert main(["serve", "--config", config, "--api-key", "operators-own-key"]) == 2
    assert "goes with --upstream only" in capsys.readouterr().err


def test_version_and_schema_print(capsys: Captured) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith("sentinel ")
    assert main(["version", "--json"]) == 0
    assert set(printed(capsys)) == {"sentinel", "python"}
    assert main(["schema", "--json"]) == 0
    assert printed(capsys)["title"] == "Sentinel configuration"


def test_the_command_line_is_light_until_a_command_needs_more() -> None:
    probe = "import sys, sentinel.cli; print({'pydantic', 'yaml', 'fastapi'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
