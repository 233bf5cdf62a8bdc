"""`limit("60/min")` in an app that knows nothing of Sentinel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.testclient import TestClient

from sentinel.fastapi import Refused, RequireKey, client_address, limit
from sentinel.testing import ManualClock

KEYS = {"ci": "key-of-the-tests-ci", "app": "key-of-the-tests-app"}


def by_name(request: Request) -> str:
    return request.headers.get("x-name", "nobody")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def app(clock: ManualClock) -> FastAPI:
    app = FastAPI()

    def now() -> float:
        return clock.now_seconds

    shared = Depends(limit("2/min", clock=now))

    @app.get("/one", dependencies=[shared])
    def one() -> dict[str, str]:
        return {"from": "one"}

    @app.get("/two", dependencies=[shared])
    async def two() -> dict[str, str]:
        return {"from": "two"}

    @app.get("/named", dependencies=[Depends(limit("1/min", key=by_name, clock=now))])
    async def named() -> PlainTextResponse:
        return PlainTextResponse("own response")

    @app.get("/both", dependencies=[Depends(limit("9/s", clock=now)), Depends(limit("2/s"))])
    async def both() -> None:
        return None

    require = Depends(RequireKey(KEYS))

    @app.get("/keyed", dependencies=[require, Depends(limit("1/min", clock=now))])
    async def keyed() -> None:
        return None

    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


def test_a_refusal_is_429_in_the_one_error_format(client: TestClient) -> None:
    assert [client.get("/one").status_code for _ in range(3)] == [200, 200, 429]
    refused = client.get("/one")
    assert refused.json() == {
        "error": {
            "message": "Limit of requests reached: 0 of 2 left. Try again in 30s.",
            "type": "rate_limit_error",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
    assert refused.headers["retry-after"] == "30"
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.headers["x-ratelimit-reset-requests"] == "1m0s"


def test_replies_tell_what_is_left(client: TestClient) -> None:
    reply = client.get("/one")
    assert reply.json() == {"from": "one"}
    assert reply.headers["x-ratelimit-remaining-requests"] == "1"
    assert reply.headers["x-ratelimit-reset-requests"] == "30s"
    assert "retry-after" not in reply.headers


def test_after_the_wait_it_passes(client: TestClient, clock: ManualClock) -> None:
    while (refused := client.get("/one")).status_code == 200:
        pass
    clock.advance(int(refused.headers["retry-after"]))
    assert client.get("/one").status_code == 200
    assert client.get("/one").status_code == 429


def test_routes_with_one_dependency_share_its_counts(client: TestClient) -> None:
    statuses = [client.get(path).status_code for path in ("/one", "/two", "/one", "/two")]
    assert statuses == [200, 200, 429, 429]


def test_a_function_of_the_request_can_say_who_is_counted(client: TestClient) -> None:
    def ask(name: str) -> Any:
        return client.get("/named", headers={"x-name": name})

    assert (ask("a").status_code, ask("b").status_code) == (200, 200)
    refused = ask("a")
    assert refused.status_code == 429
    assert "a" not in refused.json()["error"]["message"].split()  # a key is never echoed


def test_of_two_limits_the_one_with_less_left_is_told(client: TestClient) -> None:
    reply = client.get("/both")
    assert reply.headers["x-ratelimit-limit-requests"] == "2"
    assert reply.headers["x-ratelimit-remaining-requests"] == "1"


def test_after_a_key_was_required_each_key_is_counted(client: TestClient) -> None:
    def ask(key_id: str) -> int:
        return client.get("/keyed", headers={"x-api-key": KEYS[key_id]}).status_code

    assert [ask("ci"), ask("app"), ask("ci"), ask("app")] == [200, 200, 429, 429]


def test_a_handler_of_the_hosts_own_decides_the_format() -> None:
    app = FastAPI(dependencies=[Depends(limit("1/min"))])

    @app.exception_handler(Refused)
    async def own(_: Request, refused: Refused) -> JSONResponse:
        return JSONResponse({"ours": refused.code}, refused.status_code, refused.headers)

    @app.get("/")
    def root() -> None:
        return None

    client = TestClient(app)
    client.get("/")
    refused = client.get("/")
    assert (refused.status_code, refused.json()) == (429, {"ours": "rate_limit_exceeded"})
    assert refused.headers["retry-after"] == "60"


def test_other_refusals_of_the_host_keep_their_format(client: TestClient) -> None:
    while client.get("/one").status_code == 200:
        pass
    assert client.get("/nowhere").json() == {"detail": "Not Found"}


def address_of(host: str | None) -> str:
    client = None if host is None else (host, 1234)
    return client_address(Request({"type": "http", "client": client, "headers": []}))


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "address:192.0.2.7"),
        ("::ffff:192.0.2.7", "address:192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "address:2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "address:2001:db8:1:2::/64"),
        ("fe80::1%eth0", "address:fe80::/64"),
        ("testclient", "address:testclient"),
        (None, "address:"),
    ],
)
def test_d22_an_address_is_one_client_and_so_is_an_ipv6_network(host: str | None, key: str) -> None:
    assert address_of(host) == key


@pytest.mark.parametrize("rule", ["100 tokens/min", "5 usd/day"])
def test_only_requests_can_be_counted_here(rule: str) -> None:
    with pytest.raises(ValueError, match=r"limit\(\) counts requests"):
        limit("5/min", rule)


def test_a_rule_that_is_none_is_found_when_the_app_is_made() -> None:
    with pytest.raises(ValueError, match="often"):
        limit("often")


def test_b14_of_300_requests_at_once_over_sockets_exactly_100_pass(
    serve_app: Callable[[FastAPI], str],
) -> None:
    app = FastAPI()

    @app.get("/", dependencies=[Depends(limit("100/day"))])
    def root() -> None:
        return None

    origin = serve_app(app)
    start = threading.Barrier(6)

    def calls(_: int) -> list[int]:
        with httpx.Client(base_url=origin, timeout=10, verify=False) as client:
            start.wait()
            return [client.get("/").status_code for _ in range(50)]

    with ThreadPoolExecutor(6) as pool:
        statuses = [status for found in pool.map(calls, range(6)) for status in found]
    assert (statuses.count(200), statuses.count(429)) == (100, 200)
