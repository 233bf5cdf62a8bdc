"""Rules about two places at once: names that must exist, names that must not exist twice.

They read the plain document, not the checked sections, and step over whatever has the wrong
type: so they speak up together with the faults of single members instead of after them. That is
what lets `sentinel check` list everything in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from urllib.parse import urlsplit

from sentinel.config.faults import Found, Location
from sentinel.config.fields import is_loopback, is_private
from sentinel.config.limits import broken_limits
from sentinel.config.plain import Plain, items_of, map_of, text_of
from sentinel.config.resilience import broken_resilience
from sentinel.config.tokens import broken_tokens
from sentinel.config.units import Whole
from sentinel.types import DEFAULT_ACCOUNT, account_parent

__all__ = ["broken_rules", "upstream_host"]


def broken_rules(document: Plain) -> Iterator[Found]:
    """Every rule that `document` breaks, whatever else is wrong with it."""
    rules: tuple[Callable[[Plain], Iterator[Found]], ...] = (
        _something_to_serve,
        _listeners,
        _upstreams,
        _targets,
        _route_names,
        _accounts,
        _key_accounts,
        _key_ids,
        _key_forms,
        _key_values,
        broken_limits,
        broken_resilience,
        broken_tokens,
    )
    for rule in rules:
        yield from rule(document)


def upstream_host(base_url: object) -> str | None:
    """The host in a base URL, or None when it is not readable as one."""
    try:
        return urlsplit(base_url).hostname if isinstance(base_url, str) else None
    except ValueError:
        return None


def _something_to_serve(document: Plain) -> Iterator[Found]:
    for section in ("upstreams", "routes"):
        if document.get(section, {}) == {}:
            yield Found((section,), "must hold at least one entry")


def _listeners(document: Plain) -> Iterator[Found]:
    server, admin = map_of(document.get("server")), map_of(document.get("admin"))
    host = text_of(server.get("host", "127.0.0.1"))
    if server.get("insecure") in (True, "true") and host is not None and not is_loopback(host):
        message = "without keys the gateway may only listen on this machine: host 127.0.0.1"
        yield Found(("server", "insecure"), message)
    port = _fixed_port(server.get("port", 8080))
    same_port = port is not None and _fixed_port(admin.get("port")) == port
    if admin.get("key") is not None and same_port and admin.get("host", "127.0.0.1") == host:
        yield Found(("admin", "port"), "is the server's own port; admin needs another one")


def _fixed_port(value: object) -> int | None:
    """A port that is chosen here; 0 is chosen by the system and never taken twice."""
    try:
        return Whole(1, 65535).parse(value)
    except ValueError:
        return None


_ADDRESSED = ("base_url", "credentials", "auth_header", "path_template", "query", "ca_file")


def _upstreams(document: Plain) -> Iterator[Found]:
    for name, entry in map_of(document.get("upstreams")).items():
        if not isinstance(entry, Mapping):
            continue
        where: Location = ("upstreams", name)
        if entry.get("kind") == "python":
            yield from (
                Found((*where, member), "a python upstream is called in this process: leave it out")
                for member in (*_ADDRESSED, "allow_private")
                if entry.get(member) not in (None, (), [], {})
            )
        else:
            yield from _address(entry, where)


def _address(entry: Plain, where: Location) -> Iterator[Found]:
    if entry.get("base_url") is None:
        yield Found((*where, "base_url"), "is required")
    host = upstream_host(entry.get("base_url"))
    if host is not None and is_private(host) and entry.get("allow_private") in (False, "false"):
        message = "base_url names a private address, which this forbids"
        yield Found((*where, "allow_private"), message)
    azure = entry.get("kind") == "azure" and entry.get("path_template") is None
    if azure and "api-version" not in map_of(entry.get("query")):
        yield Found((*where, "query", "api-version"), "is required for kind azure")


def _targets(document: Plain) -> Iterator[Found]:
    upstreams = map_of(document.get("upstreams"))
    for name, route in map_of(document.get("routes")).items():
        for index, target in enumerate(items_of(map_of(route).get("targets"))):
            upstream = text_of(map_of(target).get("upstream"))
            if upstream is not None and upstream not in upstreams:
                where = ("routes", name, "targets", index, "upstream")
                yield Found(where, f'no upstream named "{upstream}"')


def _route_names(document: Plain) -> Iterator[Found]:
    routes = map_of(document.get("routes"))
    taken: dict[str, str] = {name: name for name in routes}
    for name, route in routes.items():
        for index, alias in enumerate(items_of(map_of(route).get("aliases"))):
            if not isinstance(alias, str):
                continue
            if alias in taken:
                where = ("routes", name, "aliases", index)
                yield Found(where, f'"{alias}" is taken by the route "{taken[alias]}"')
            taken.setdefault(alias, name)


def _accounts(document: Plain) -> Iterator[Found]:
    accounts = map_of(document.get("accounts"))
    external: dict[str, str] = {}
    for name, entry in accounts.items():
        above = account_parent(name)
        told = text_of(map_of(entry).get("parent"))
        if above is not None and above not in accounts and above != DEFAULT_ACCOUNT:
            yield Found(("accounts", name), f'no account named "{above}" to stand under')
        if told is not None and told != above:
            what = f'"{above}"' if above else "none: an id without '/' stands at the top"
            yield Found(("accounts", name, "parent"), f"the id says the parent is {what}")
        outside = text_of(map_of(entry).get("external_id")) or name
        if outside in external:
            message = f'is the external id of "{external[outside]}" already'
            yield Found(("accounts", name, "external_id"), message)
        external.setdefault(outside, name)


def _keys(document: Plain) -> list[Plain]:
    return [map_of(entry) for entry in items_of(document.get("keys"))]


def _key_accounts(document: Plain) -> Iterator[Found]:
    accounts = {DEFAULT_ACCOUNT, *map_of(document.get("accounts"))}
    for index, entry in enumerate(_keys(document)):
        account = text_of(entry.get("account"))
        if account is not None and account not in accounts:
            yield Found(("keys", index, "account"), f'no account named "{account}"')


def _key_ids(document: Plain) -> Iterator[Found]:
    seen: set[str] = set()
    for index, entry in enumerate(_keys(document)):
        name = text_of(entry.get("id"))
        if name is None:
            continue
        if name in seen:
            yield Found(("keys", index, "id"), f'"{name}" is the id of another key')
        if name.startswith("key_"):
            yield Found(("keys", index, "id"), 'ids that begin with "key_" are for issued keys')
        seen.add(name)


def _key_forms(document: Plain) -> Iterator[Found]:
    for index, entry in enumerate(_keys(document)):
        if entry and (entry.get("hash") is None) == (entry.get("key") is None):
            yield Found(("keys", index, "hash"), "give either `hash` or `key`")


def _key_values(document: Plain) -> Iterator[Found]:
    """No two keys are the same one: the gateway could not tell who is calling."""
    places: list[tuple[Location, str]] = [
        (("keys", index, member), value.lower() if member == "hash" else value)
        for index, entry in enumerate(_keys(document))
        for member in ("hash", "key")
        if (value := text_of(entry.get(member))) is not None
    ]
    admin = text_of(map_of(document.get("admin")).get("key"))
    if admin is not None:
        places.append((("admin", "key"), admin))
    for (_, first), (where, second) in combinations(places, 2):
        if first == second:
            yield Found(where, "is the same as another key")
