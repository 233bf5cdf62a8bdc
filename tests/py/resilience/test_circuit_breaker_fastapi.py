"""A guarded function serves as a route and as a dependency."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from sentinel import CircuitBreaker


def double(number: int) -> int:
    return 2 * number


async def adouble(number: int) -> int:
    return 2 * number


@pytest.mark.parametrize("function", [double, adouble])
def test_a_guarded_function_is_a_route_and_a_dependency(
    function: Callable[[int], int | Awaitable[int]],
) -> None:
    breaker = CircuitBreaker()
    guarded = breaker(function)
    app = FastAPI()
    app.get("/route")(guarded)

    @app.get("/dependency", dependencies=[Depends(guarded)])
    def route() -> str:
        return "passed"

    client = TestClient(app)
    assert client.get("/route?number=4").json() == 8
    assert client.get("/dependency?number=5").json() == "passed"
    assert client.get("/route").status_code == 422
    assert breaker.metrics().calls == 2
