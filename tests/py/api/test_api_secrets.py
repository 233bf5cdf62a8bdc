"""Secrets stay where they belong: ours with us, the provider's with the provider, texts nowhere."""

from __future__ import annotations

import ast
import json
import logging
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sentinel
from sentinel.api.logs import json_logs
from sentinel.testing import ScriptedUpstream
from support.serving import UPSTREAM_KEY, GatewayProcess, GatewayServer, HttpAddress, chat_body

Serve = Callable[..., GatewayServer]
Records = Callable[[], list[dict[str, Any]]]
CHAT = "/v1/chat/completions"
FAULTS = ["echo_credential", "echo_credential_event", "echo_credential_header"]


@pytest.mark.parametrize("stream", [False, True])
def test_s6_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(
    gateway_server: GatewayServer, upstream: ScriptedUpstream, new_records: Records, stream: bool
) -> None:
    with ScriptedUpstream.in_thread() as elsewhere:
        upstream.script(f"fail=redirect location={elsewhere.base_url}/chat/completions")
        with gateway_server.http() as client:
            reply = client.post(CHAT, json=chat_body(stream=stream))
        assert elsewhere.stats()["connections_total"] == 0
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_error")
    assert "location" not in reply.headers
    assert [record["outcome"] for record in new_records()] == ["upstream_error"]


def test_s6_what_a_client_says_never_chooses_the_host(
    gateway_server: GatewayServer, upstream: ScriptedUpstream
) -> None:
    body = chat_body(base_url="http://evil.invalid", api_base="http://evil.invalid")
    headers = {"host": "evil.invalid", "x-forwarded-host": "evil.invalid"}
    with gateway_server.http() as client:
        assert client.post(CHAT, json=body, headers=headers).status_code == 200
    assert upstream.calls[0].header("host") == upstream.origin.removeprefix("http://")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat_body()),
        ("/v1/messages", chat_body(max_tokens=9)),
        ("/v1/responses", {"model": "m", "input": "hi"}),
    ],
)
def test_s9_an_upstream_that_repeats_our_key_is_scrubbed(
    gateway_server: GatewayServer,
    upstream: ScriptedUpstream,
    path: str,
    body: dict[str, Any],
    fault: str,
    stream: bool,
) -> None:
    upstream.script(f"fail={fault}")
    with gateway_server.http() as client:
        reply = client.post(path, json={**body, "stream": stream})
    shown = reply.text + str(dict(reply.headers))
    assert UPSTREAM_KEY[:12] not in shown
    assert UPSTREAM_KEY[-12:] not in shown


def document(upstream: ScriptedUpstream) -> dict[str, Any]:
    """A configuration with a canary in every secret place."""
    return {
        "version": 1,
        "admin": {"key": "${CANARY_ADMIN}"},
        "upstreams": {
            "up": {"base_url": upstream.base_url, "credentials": [{"key": "${CANARY_UPSTREAM}"}]}
        },
        "routes": {"*": {"targets": [{"upstream": "up"}]}},
        "keys": [{"id": "app", "key": "${CANARY_CLIENT}"}],
        "log": {"level": "debug"},
    }


CANARIES = {
    "CANARY_ADMIN": "canary-admin-5d1a7e0b93",
    "CANARY_UPSTREAM": "canary-upstream-71c3f9e2aa",
    "CANARY_CLIENT": "canary-client-0f8b6d4422",
}
PROMPT = "canaryprompt mail jane.canary@example.org card 4111 1111 1111 1111 ssn 078-05-1120"
MODEL = "model.canary@example.org"  # a model's name is recorded; the log redacts what it looks like
LEAKS = [*CANARIES.values(), "canaryprompt", "jane.canary@example.org", "4111 1111", "078-05-1120"]


def test_s8_planted_secrets_appear_in_no_log_metric_record_or_error(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    with GatewayProcess.serving(document(upstream), tmp_path) as gateway:
        errors = provoke(gateway, upstream)
        with gateway.http(None) as client:
            metrics = client.get("/metrics").text
        assert gateway.stop() == 0
    tables = "".join(dump(path) for path in gateway.data_dir.glob("*.db"))
    assert len(gateway.records()) >= 8
    for place, text in {
        "log": gateway.text(),
        "metrics": metrics,
        "records": tables,
        "errors": errors,
    }.items():
        assert [secret for secret in LEAKS if secret in text] == [], place
    assert MODEL not in gateway.text() + metrics
    for line in gateway.text().splitlines():
        assert line.startswith(("Sentinel listens on", "Admin routes on")) or json.loads(line)


def provoke(gateway: GatewayProcess, upstream: ScriptedUpstream) -> str:
    """Calls that succeed and calls that fail in many ways; the text of what failed."""
    errors = []
    body = chat_body(PROMPT, user="jane.canary@example.org")
    with gateway.http(CANARIES["CANARY_CLIENT"]) as client:
        assert PROMPT.split()[0] in client.post(CHAT, json=body).text
        client.post(CHAT, json={**body, "stream": True})
        client.post("/v1/query", json={"prompt": PROMPT})
        for fault in (*FAULTS[:2], "html", "cut_mid_body", "stall_before_head", "invalid_json"):
            upstream.script(f"fail={fault}")
            slow = 0.2 if fault.startswith("stall") else 5
            try:
                errors.append(client.post(CHAT, json=body, timeout=slow).text)
            except Exception as error:  # the client's own time-out
                errors.append(str(error))
        client.post(CHAT, json={**body, "model": MODEL})
        errors.append(client.post(CHAT, json={**body, "n": PROMPT}).text)
        errors.append(client.post("/v1/query", json={"prompt": PROMPT, "max_tokens": PROMPT}).text)
        errors.append(client.post(CHAT, content=PROMPT.encode()).text)
        errors.append(client.get("/admin/keys").text)
    port = int(gateway.origin.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as raw:  # no HTTP at all
        raw.sendall(f"{PROMPT} {CANARIES['CANARY_CLIENT']}\r\n\r\n".encode())
        errors.append(raw.recv(65536).decode())
    with gateway.http(CANARIES["CANARY_CLIENT"] + "x") as stranger:
        errors.append(stranger.post(CHAT, json=body).text)
    with gateway.http(CANARIES["CANARY_ADMIN"]) as admin:
        errors.append(admin.post("/admin/keys", json={"account": "nobody"}).text)
    return "\n".join(errors)


def dump(database: Path) -> str:
    command = ["sqlite3", str(database), ".dump"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout


def test_s8_a_librarys_exception_is_logged_by_kind_and_place_alone(
    gateway_server: GatewayServer, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(secret: str) -> None:
        raise ValueError(f"cannot use {secret}")

    with json_logs(gateway_server.gateway):
        try:
            fail(CANARIES["CANARY_CLIENT"])
        except ValueError:
            logging.getLogger("somebody").exception("it failed\nwith %s", PROMPT)
    logged = capfd.readouterr().err
    line = json.loads(next(line for line in logged.splitlines() if "ValueError" in line))
    assert (line["level"], line["logger"], line["message"]) == ("error", "somebody", "it failed")
    assert line["at"].endswith(" fail")
    assert not [secret for secret in LEAKS if secret in logged]


FORBIDDEN = {"pickle", "marshal", "shelve", "dill", "jinja2", "mako", "code", "codeop"}
CALLS = {"eval", "exec", "compile", "__import__"}


def test_s32_no_pickle_eval_or_template_engine_in_the_package() -> None:
    root = Path(sentinel.__file__).parent
    sources = sorted(root.rglob("*.py"))
    assert len(sources) > 40
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            assert not imported(node) & FORBIDDEN, source
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
            assert called not in CALLS, f"{source}: {called}"


def imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return set()


def test_a_header_that_names_our_key_does_not_come_back(
    gateway_server: GatewayServer, upstream: ScriptedUpstream
) -> None:
    upstream.script("fail=echo_credential_header")
    with gateway_server.http() as client:
        reply = client.post(CHAT, json=chat_body())
    assert reply.status_code == 200
    assert "x-debug-credential" not in reply.headers
    with HttpAddress(upstream.origin).http() as direct:
        upstream.script("fail=echo_credential_header")
        assert "x-debug-credential" in direct.post(CHAT, json=chat_body()).headers
