"""Embeddings are kept one by one: only what is missing of an array goes upstream (D21)."""

from __future__ import annotations

import asyncio
import base64
import struct
from pathlib import Path
from typing import Any

import httpx
import pytest

from governed.conftest import Question
from sentinel.testing import ScriptedUpstream
from support.crowd import ask_all, request_bytes
from support.governed import document, in_flight, key_text, until_held
from support.serving import GatewayProcess

PATH = "/v1/embeddings"


class Embedder:
    """Asks through the gateway and straight, and says what went upstream."""

    def __init__(
        self, gateway: GatewayProcess, upstream: ScriptedUpstream, prefix: str, key: str
    ) -> None:
        self._gateway = gateway
        self._upstream = upstream
        self._prefix = prefix
        self._key = key

    def items(self, *names: str) -> list[str]:
        return [f"{self._prefix} {name}" for name in names]

    def ask(self, value: Any, **more: Any) -> httpx.Response:
        headers = more.pop("headers", {})
        body = {"model": "cached", "input": value, **more}
        with self._gateway.http(self._key) as client:
            reply = client.post(PATH, json=body, headers=headers)
        assert reply.status_code == 200, reply.text
        return reply

    def straight(self, value: Any, **more: Any) -> Any:
        body = {"model": "cached", "input": value, **more}
        reply = httpx.post(f"{self._upstream.base_url}/embeddings", json=body, verify=False)
        assert reply.status_code == 200
        return reply.json()

    def sent(self) -> list[Any]:
        return [call.json["input"] for call in self._upstream.calls]


@pytest.fixture
def embedder(caching: GatewayProcess, upstream: ScriptedUpstream, question: Question) -> Embedder:
    return Embedder(caching, upstream, question.text, key_text("acme-1"))


def verdict(reply: httpx.Response) -> str:
    return reply.headers["x-sentinel-cache"]


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_d21_only_the_missing_items_go_upstream_and_the_reply_is_as_if_all_had(
    embedder: Embedder, encoding: str | None
) -> None:
    more = {} if encoding is None else {"encoding_format": encoding}
    a, b, c, d, e = embedder.items("a", "b", "c", "d", "e")
    assert embedder.ask([a, b, c], **more).json() == embedder.straight([a, b, c], **more)
    embedder._upstream.reset()
    mixed = [d, c, a, e, b]
    partly = embedder.ask(mixed, **more)
    assert embedder.sent() == [[d, e]]
    assert verdict(partly) == "miss"
    assert partly.json() == embedder.straight(mixed, **more)
    embedder._upstream.reset()
    whole = embedder.ask([e, d, a], **more)
    assert (verdict(whole), embedder.sent()) == ("hit-exact", [])
    assert whole.json() == embedder.straight([e, d, a], **more)


def test_d21_both_encodings_through_the_official_sdk(
    caching: GatewayProcess, embedder: Embedder
) -> None:
    a, b, c = embedder.items("a", "b", "c")
    with caching.openai(key_text("acme-1")) as client:
        first = client.embeddings.create(model="cached", input=[a, b])  # asks for base64 by itself
        again = client.embeddings.create(model="cached", input=[c, b, a])
        floats = client.embeddings.create(model="cached", input=[a, b], encoding_format="float")
    assert embedder.sent()[:2] == [[a, b], [c]]
    assert [one.index for one in again.data] == [0, 1, 2]
    assert again.data[2].embedding == first.data[0].embedding == floats.data[0].embedding
    assert again.data[1].embedding == first.data[1].embedding == floats.data[1].embedding
    assert again.usage.prompt_tokens == sum(len(item.split()) for item in (a, b, c))


def test_a_base64_vector_is_passed_as_it_is(embedder: Embedder) -> None:
    [a] = embedder.items("a")
    for _ in range(2):
        reply = embedder.ask([a], encoding_format="base64").json()
        vector = base64.b64decode(reply["data"][0]["embedding"])
        assert len(struct.unpack("<64f", vector)) == 64


def test_a_single_text_and_token_ids_are_kept_too(embedder: Embedder) -> None:
    [a] = embedder.items("a")
    seed = sum(a.encode())
    for value in (a, [seed, 2, 3], [[seed, 4], [seed, 5]]):
        replies = [embedder.ask(value) for _ in range(2)]
        assert [verdict(reply) for reply in replies] == ["miss", "hit-exact"]
        assert replies[0].json() == replies[1].json() == embedder.straight(value)
        embedder._upstream.reset()
    assert embedder.ask([[seed, 4], [seed, 6]]).status_code == 200
    assert embedder.sent() == [[[seed, 6]]]


def test_the_same_item_twice_stands_twice_in_the_reply(embedder: Embedder) -> None:
    a, b = embedder.items("a", "b")
    straight = embedder.straight([a, b, a])
    for value in ([a, b, a], [a, b, a]):
        assert embedder.ask(value).json()["data"] == straight["data"]


@pytest.mark.parametrize(
    "change",
    [{"dimensions": 8}, {"encoding_format": "float"}, {"task_of_next_year": "query"}],
    ids=str,
)
def test_s22_what_else_the_body_says_is_part_of_each_items_identity(
    embedder: Embedder, change: dict[str, Any]
) -> None:
    items = embedder.items("a", "b")
    embedder.ask(items)
    embedder._upstream.reset()
    assert verdict(embedder.ask(items, **change)) == "miss"
    assert embedder.sent() == [items]
    assert verdict(embedder.ask(items, **change, user="somebody")) == "hit-exact"


def test_s22_tenants_share_no_item(
    caching: GatewayProcess, upstream: ScriptedUpstream, embedder: Embedder, question: Question
) -> None:
    items = embedder.items("a", "b")
    other = Embedder(caching, upstream, question.text, key_text("globex"))
    same_account = Embedder(caching, upstream, question.text, key_text("acme-2"))
    assert verdict(embedder.ask(items)) == "miss"
    assert verdict(other.ask(items)) == "miss"
    assert verdict(same_account.ask(items[::-1])) == "hit-exact"
    assert embedder.sent() == [items, items]


def test_no_cache_asks_for_all_items_anew_and_no_store_keeps_none(embedder: Embedder) -> None:
    items = embedder.items("a", "b")
    no_store, no_cache = ({"cache-control": name} for name in ("no-store", "no-cache"))
    assert verdict(embedder.ask(items, headers=no_store)) == "bypass"
    assert verdict(embedder.ask(items)) == "miss"
    assert verdict(embedder.ask(items, headers=no_cache)) == "miss"
    assert verdict(embedder.ask(items)) == "hit-exact"
    assert embedder.sent() == [items] * 3


async def test_d21_equal_arrays_at_the_same_time_are_one_call(
    caching: GatewayProcess, upstream: ScriptedUpstream, question: Question
) -> None:
    body = {"model": "cached", "input": [question.text, "and another"]}
    upstream.script("hold=0")
    everybody = asyncio.create_task(ask_all(caching.origin, [request_bytes(body, path=PATH)] * 30))
    await until_held(upstream, 1)
    await in_flight(caching, 30)
    upstream.release()
    replies = await everybody
    assert len({reply.body for reply in replies}) == 1
    assert upstream.stats()["requests"] == 1


def test_a_cut_answer_for_the_missing_items_is_an_error_and_nothing_of_it_is_kept(
    embedder: Embedder, upstream: ScriptedUpstream
) -> None:
    a, b, c = embedder.items("a", "b", "c")
    embedder.ask([a])
    upstream.script("fail=cut_mid_body")
    with embedder._gateway.http(key_text("acme-1")) as client:
        reply = client.post(PATH, json={"model": "cached", "input": [a, b, c]})
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_error")
    assert embedder.ask([c, a, b]).json() == embedder.straight([c, a, b])


def test_only_what_went_upstream_is_paid_for(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    words = ["one", "two two", "three three three", "four four four four"]
    with (
        GatewayProcess.serving(document(upstream.base_url), tmp_path) as gateway,
        gateway.http() as client,
    ):
        for value in (words[:2], words, words):
            client.post(PATH, json={"model": "cached", "input": value})
        assert gateway.stop() == 0
    records = gateway.records()
    assert [record["cost_micro_usd"] for record in records] == [3, 7, 0]
    assert [record["saved_micro_usd"] for record in records] == [0, 3, 10]
    assert [record["cache"] for record in records] == ["miss", "miss", "hit-exact"]
