"""D22, A3: limits are written short or in full, checked at their place, handed on as written."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentinel.config import Settings, load
from sentinel.config.limits import RateLimits, rules_of
from sentinel.config.rates import Rate, micro_usd_text, parse_rate
from sentinel.types import Rules

Faults = Callable[[Any], dict[str, str]]
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/min", Rate("requests", 100, MINUTE, 100)),
        ("60/s burst 5", Rate("requests", 60, timedelta(seconds=1), 5)),
        ("1000/10s", Rate("requests", 1000, timedelta(seconds=10), 1000)),
        ("1 request / 2 hour", Rate("requests", 1, timedelta(hours=2), 1)),
        ("20000 tokens/min", Rate("tokens", 20_000, MINUTE, 20_000)),
        ("1token/d burst9", Rate("tokens", 1, DAY, 9)),
        ("5 usd/day", Rate("money", 5_000_000, DAY, 5_000_000)),
        ("0.25 USD/hour burst 1", Rate("money", 250_000, timedelta(hours=1), 1_000_000)),
        (" .000001 usd/s ", Rate("money", 1, timedelta(seconds=1), 1)),
        ("1000000000000000/366d", Rate("requests", 10**15, timedelta(days=366), 10**15)),
        ("1000000000 usd/day", Rate("money", 10**15, DAY, 10**15)),
    ],
)
def test_a_rate_reads_as_the_engine_reads_it(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a rate"),
        ("100", "must be a rate"),
        ("100/min burst 5 more", "must be a rate"),
        ("100/minburst 5", "must be a rate"),
        ("-1/min", "must be a rate"),
        ("1e3/min", "must be a rate"),
        ("100 calls/min", "must count"),
        ("100 Tokens/min", "must count"),
        ("100/week", "must be per s, min"),
        ("100/", "must be per s, min"),
        ("100/0s", "366 days"),
        ("100/1.5min", "366 days"),
        ("100/367d", "366 days"),
        ("0/min", "an amount of 1 to 10^15"),
        ("/min", "an amount of 1 to"),
        ("1.5/min", "an amount of 1 to"),
        ("1.5 tokens/min", "an amount of 1 to"),
        ("1000000000000001/min", "an amount of 1 to"),
        ("0 usd/day", "an amount of 0.000001"),
        ("5. usd/day", "an amount of 0.000001"),
        ("1.2.3 usd/day", "an amount of 0.000001"),
        ("0.0000001 usd/day", "an amount of 0.000001"),
        ("0.2500000 usd/day", "an amount of 0.000001"),
        ("1000000000.000001 usd/day", "an amount of 0.000001"),
        ("100/min burst", "a burst of 1 to"),
        ("100/min burst 0", "a burst of 1 to"),
        ("5 usd/day burst 0.0000001", "a burst of 0.000001"),
        ("\u0661/min", "must be a rate"),
        ("100\t/min", "must be a rate"),
        ("1" * 5000 + "/min", "must be a rate"),
    ],
)
def test_b5_what_is_no_rate_is_refused_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("^", r"\^")):
        parse_rate(text)


PERIODS = ["s", "sec", "second", "min", "minute", "h", "hour", "d", "day"]
GAPS = st.sampled_from(["", " ", "  "])


@st.composite
def rate_texts(draw: st.DrawFn) -> str:
    unit = draw(st.sampled_from(["", "request", "requests", "token", "tokens", "usd", "USD"]))
    money = unit.lower() == "usd"

    def amount() -> str:
        number = draw(st.integers(1, 10**15))
        return micro_usd_text(number) if money else str(number)

    gap = draw(GAPS)
    text = f"{gap}{amount()}{draw(GAPS)}{unit}{gap}/{draw(GAPS)}"
    text += f"{draw(st.sampled_from(['', '1', '10', '366']))}{gap}{draw(st.sampled_from(PERIODS))}"
    return text + (f" burst{draw(GAPS)}{amount()}{gap}" if draw(st.booleans()) else "")


@given(rate_texts())
def test_any_accepted_rate_is_handed_on_unchanged(text: str) -> None:
    assert rules_of(RateLimits.model_validate({"rates": [text]})).rates == (text,)


@given(st.text("0123456789. /minburstokeusdhay", max_size=30))
@example("1/min")
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    try:
        rate = parse_rate(text)
    except ValueError:
        return
    assert 1 <= rate.amount <= 10**15
    assert 1 <= rate.burst <= 10**15
    assert timedelta(seconds=1) <= rate.period <= timedelta(days=366)


@given(st.integers(1, 10**15))
def test_money_is_written_exactly(micro_usd: int) -> None:
    assert parse_rate(f"{micro_usd_text(micro_usd)} usd/day").amount == micro_usd


def rules(**members: object) -> Rules:
    return rules_of(RateLimits.model_validate(members))


def test_no_limits_are_no_rules() -> None:
    assert not rules_of(None)
    assert not rules()
    assert rules(concurrency=1)


def test_the_short_members_are_rates_before_the_others() -> None:
    told = rules(rates=["10/s"], usd_per_day="20", tpm="5000", rpm=600, concurrency=50)
    assert told == Rules(("600/min", "5000 tokens/min", "20 usd/day", "10/s"), 50)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (20, "20"),
        (0.25, "0.25"),
        ("0.250000", "0.25"),
        (0.000001, "0.000001"),
        (100, "100"),
        (10**9, "1000000000"),
        (999999999.999999, "999999999.999999"),
    ],
)
def test_an_amount_of_usd_is_kept_to_its_last_decimal(amount: object, text: str) -> None:
    assert rules(usd_per_day=amount).rates == (f"{text} usd/day",)


@pytest.mark.parametrize("name", ["rpm", "tpm"])
def test_the_edges_of_the_short_members(sound: dict[str, Any], faults: Faults, name: str) -> None:
    for value, taken in ((1, True), (10**15, True), (0, False), (10**15 + 1, False), (1.5, False)):
        sound["accounts"]["acme"]["limits"] = {name: value}
        assert list(faults(sound)) == ([] if taken else [f"accounts.acme.limits.{name}"])


@pytest.mark.parametrize(
    "limits",
    [
        {"concurrency": 0},
        {"concurrency": 1_000_001},
        {"usd_per_day": 0},
        {"usd_per_day": -1},
        {"usd_per_day": True},
        {"usd_per_day": 0.0000001},
        {"usd_per_day": "0.0000001"},
        {"usd_per_day": 10**9 + 1},
        {"usd_per_day": 10**400},
        {"usd_per_day": float("nan")},
        {"usd_per_day": float("inf")},
        {"usd_per_day": "5 usd"},
        {"rpd": 1},
    ],
)
def test_b5_a_limit_out_of_range_is_a_fault_at_its_place(
    sound: dict[str, Any], faults: Faults, limits: dict[str, object]
) -> None:
    sound["routes"]["gpt-4o"]["limits"] = limits
    assert list(faults(sound)) == [f"routes.gpt-4o.limits.{next(iter(limits))}"]


def test_b5_each_place_that_takes_limits_tells_its_faults(
    full: dict[str, Any], faults: Faults
) -> None:
    wrong = {"rates": ["100/min", "1/fortnight", "7/60s"]}
    full["server"]["per_address"] = wrong
    full["accounts"]["acme"]["limits"] = wrong
    full["routes"]["gpt-4o"]["limits"] = wrong
    full["keys"][0]["limits"] = wrong
    full["upstreams"]["openai"]["credentials"][1]["limits"] = wrong
    found = faults(full)
    assert sorted(found) == sorted(
        f"{place}.rates[{index}]"
        for index in (1, 2)
        for place in (
            "accounts.acme.limits",
            "keys[0].limits",
            "routes.gpt-4o.limits",
            "server.per_address",
            "upstreams.openai.credentials[1].limits",
        )
    )
    assert found["server.per_address.rates[1]"] == "must be per s, min, hour or day"
    assert "as `rates[0]` does already" in found["server.per_address.rates[2]"]


def test_d22_an_address_may_only_be_limited_in_its_requests(
    full: dict[str, Any], faults: Faults
) -> None:
    full["server"]["per_address"] = {
        "rpm": 60,
        "tpm": 1,
        "usd_per_day": 1,
        "concurrency": 1,
        "rates": ["10/s", "5 tokens/s", "1 usd/hour"],
    }
    assert set(faults(full)) == {
        f"server.per_address.{member}"
        for member in ("tpm", "usd_per_day", "concurrency", "rates[1]", "rates[2]")
    }


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"rpm": 5, "rates": ["1/min"]}, "counts requests per 1m, as `rpm` does"),
        ({"tpm": 5, "rates": ["9 tokens/60s"]}, "counts tokens per 1m, as `tpm` does"),
        ({"usd_per_day": 5, "rates": ["1 usd/24h"]}, "counts money per 24h, as `usd_per_day` does"),
    ],
)
def test_b5_one_kind_and_period_stands_once(
    sound: dict[str, Any], faults: Faults, limits: dict[str, object], message: str
) -> None:
    sound["accounts"]["acme"]["limits"] = limits
    (told,) = faults(sound).values()
    assert message in told


@pytest.mark.parametrize(
    ("entry", "place", "message"),
    [
        ({"rate": "1/fortnight"}, "rates[0].rate", "must be per s, min, hour or day"),
        ({"rate": "5 tokens/s", "hits": "all"}, "rates[0].hits", "must be 'free' or 'count'"),
        ({"rate": "5 tokens/s", "hit": "count"}, "rates[0].hit", "unknown member"),
        ({"hits": "count"}, "rates[0].rate", "is required"),
        ({"rate": "5/s", "hits": "count"}, "rates[0].hits", "every hit is a request: leave it out"),
        (7, "rates[0]", "must be text (put it in quotes)"),
    ],
)
def test_a_rule_that_is_no_rule_is_named(
    sound: dict[str, Any], faults: Faults, entry: object, place: str, message: str
) -> None:
    sound["accounts"]["acme"] = {"end_users": {"rates": [entry]}}
    (found,) = faults(sound).items()
    assert found[0] == f"accounts.acme.end_users.{place}"
    assert found[1].startswith(message)


def test_no_rule_of_a_credential_counts_hits(full: dict[str, Any], faults: Faults) -> None:
    counting = {"rates": [{"rate": "5 tokens/s", "hits": "count"}]}
    full["upstreams"]["openai"]["credentials"][1]["limits"] = counting
    (place,) = faults(full)
    assert place == "upstreams.openai.credentials[1].limits.rates[0].hits"


def test_an_account_of_any_name_may_count_hits(sound: dict[str, Any], faults: Faults) -> None:
    counting = {"rates": [{"rate": "5 tokens/s", "hits": "count"}]}
    sound["accounts"]["credentials"] = {"limits": counting}
    assert faults(sound) == {}


def test_rates_of_other_kinds_or_periods_stand_side_by_side(
    sound: dict[str, Any], faults: Faults
) -> None:
    rates = ["1000/day", "60 tokens/s", "1 usd/hour", "5/s", "9 tokens/day"]
    sound["accounts"]["acme"]["limits"] = {"rpm": 1, "tpm": 1, "usd_per_day": 1, "rates": rates}
    assert faults(sound) == {}
    rates.append("100/h")
    assert list(faults(sound)) == ["accounts.acme.limits.rates"]


@pytest.mark.parametrize(
    ("network", "canonical"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("::1", "::1/128"),
        ("2001:DB8::1/32", "2001:db8::/32"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
    ],
)
def test_s5_a_proxy_is_trusted_by_its_network(
    sound: dict[str, Any], network: str, canonical: str
) -> None:
    sound["server"]["trusted_proxies"] = [network]
    assert Settings.parse(sound).server.trusted_proxies == (canonical,)


@pytest.mark.parametrize("network", ["", "proxy", "10.0.0.0/33", "10.0.0", "fe80::%1/64", "*"])
def test_s5_what_is_no_network_is_a_fault(
    sound: dict[str, Any], faults: Faults, network: str
) -> None:
    sound["server"]["trusted_proxies"] = ["::1", network]
    assert list(faults(sound)) == ["server.trusted_proxies[1]"]


def test_the_environment_may_limit_addresses(sound: dict[str, Any], tmp_path: Any) -> None:
    path = tmp_path / "sentinel.yaml"
    path.write_text(json.dumps(sound))
    settings = load(path, {"SENTINEL_SERVER__PER_ADDRESS__RPM": "60"})
    assert rules_of(settings.server.per_address) == Rules(("60/min",))


def test_a_flag_may_limit_the_account_of_all_keys() -> None:
    flag = {"accounts.default.limits.rpm": "60"}
    settings = Settings.for_upstream("http://127.0.0.1:9", overrides=flag)
    assert rules_of(settings.accounts["default"].limits) == Rules(("60/min",))


def test_a_key_of_the_file_carries_its_rules(full: dict[str, Any]) -> None:
    limited, other = Settings.parse(full).configured_keys()
    assert limited.rules == Rules(("1000/day",), 2)
    assert not other.rules


def test_a_dump_shows_limits_as_json(full: dict[str, Any]) -> None:
    dump = Settings.parse(full).redacted_dump()
    assert dump["accounts"]["acme"]["limits"]["usd_per_day"] == 0.25
    assert dump["upstreams"]["openai"]["retry"]["budget"]["window"] == "20s"
