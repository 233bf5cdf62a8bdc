"""D10: what the app answers is what its OpenAPI document says, for requests made from it."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from sentinel.testing import ScriptedUpstream
from support.serving import ADMIN_KEY, APP_KEY, GatewayServer

OPERATIONS = {
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/messages"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
    ("POST", "/v1/query"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/admin/keys"),
    ("POST", "/admin/keys"),
    ("DELETE", "/admin/keys/{key_id}"),
    ("GET", "/admin/accounts"),
    ("POST", "/admin/accounts"),
    ("PATCH", "/admin/accounts/{account_id}"),
    ("GET", "/admin/cache"),
    ("DELETE", "/admin/cache"),
    ("GET", "/admin/breakers"),
    ("PUT", "/admin/breakers/{target}"),
}


def operations(server: GatewayServer) -> dict[tuple[str, str], Any]:
    config = SchemathesisConfig.from_dict({"generation": {"allow-x00": True}})
    schema = schemathesis.openapi.from_dict(server.app.openapi(), config=config)
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    return {(one.method.upper(), one.path): one for one in found}


def test_d10_the_document_tells_of_every_route(gateway_server: GatewayServer) -> None:
    assert set(operations(gateway_server)) == OPERATIONS


@pytest.mark.parametrize("operation", sorted(OPERATIONS), ids=" ".join)
def test_d10_answers_are_as_the_document_says(
    gateway_server: GatewayServer, upstream: ScriptedUpstream, operation: tuple[str, str]
) -> None:
    described = operations(gateway_server)[operation]
    key = ADMIN_KEY if "/admin" in operation[1] else APP_KEY

    # Not checked: that all that fits the document is accepted. Providers and accounts have rules
    # of their own, which are told by a 400.
    @hypothesis.settings(
        max_examples=15,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=described.as_strategy())
    def check(case: Any) -> None:
        headers = {"authorization": f"Bearer {key}"}
        reply = case.call(base_url=gateway_server.origin, headers=headers)
        assert reply.status_code != 500, reply.text
        case.validate_response(reply, excluded_checks=[positive_data_acceptance])

    check()


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/v1/chat/completions"), ("POST", "/healthz")]
)
def test_another_method_is_a_405_in_the_one_format(
    gateway_server: GatewayServer, method: str, path: str
) -> None:
    with gateway_server.http() as client:
        reply = client.request(method, path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (405, "unsupported_endpoint")
    assert reply.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/v1/images/generations", "/nope"])
def test_an_unknown_path_is_never_passed_through(
    gateway_server: GatewayServer, upstream: ScriptedUpstream, path: str
) -> None:
    with gateway_server.http() as client:
        reply = client.post(path, json={})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unsupported_endpoint")
    assert upstream.calls == []
