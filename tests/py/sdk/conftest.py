"""The official SDKs twice: through the gateway, and straight to the upstream."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import openai
import pytest

from sentinel.testing import ScriptedUpstream
from support.serving import GatewayServer, HttpAddress


@pytest.fixture
def client(gateway_server: GatewayServer) -> Iterator[openai.OpenAI]:
    with gateway_server.openai() as client:
        yield client


@pytest.fixture
def direct(upstream: ScriptedUpstream) -> Iterator[openai.OpenAI]:
    with HttpAddress(upstream.origin).openai() as client:
        yield client


@pytest.fixture
def claude(gateway_server: GatewayServer) -> Iterator[anthropic.Anthropic]:
    with gateway_server.anthropic() as client:
        yield client


@pytest.fixture
def direct_claude(upstream: ScriptedUpstream) -> Iterator[anthropic.Anthropic]:
    with HttpAddress(upstream.origin).anthropic() as client:
        yield client
