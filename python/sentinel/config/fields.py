"""Checked kinds of text: URLs, hosts, header names, keys, hashes, names.

Each check takes the text and gives it back (normalised where the type says so) or raises
ValueError with a sentence. Sentences never repeat the text, which may be a secret.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, SecretStr

from sentinel.types import (
    ISSUED_PREFIX,
    account_fault,
    issued_key_well_formed,
    model_fault,
    pattern_fault,
)

__all__ = [
    "AccountId",
    "BaseUrl",
    "CaFile",
    "CacheTag",
    "DirectoryPath",
    "ExternalId",
    "FilePath",
    "HeaderName",
    "Host",
    "KeyHash",
    "KeyId",
    "ModelName",
    "ModelPattern",
    "ModelPrefix",
    "OperatorKey",
    "PathTemplate",
    "Pepper",
    "QueryName",
    "QueryValue",
    "ShareName",
    "UpstreamKey",
    "UpstreamName",
    "host_address",
    "is_loopback",
    "is_private",
]

_LABEL: Final = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_VISIBLE = re.compile(r"[!-~]+")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_URL_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")
_TEMPLATE = re.compile(r"(?:/(?:[A-Za-z0-9._~:@-]|\{model\}|\{endpoint\})+)+")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def host_address(host: str) -> Address | None:
    """The address a host literal stands for, or None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`."""
    address = host_address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_private(host: str) -> bool:
    """Whether `host` is written as an address (or localhost) outside the public internet."""
    address = host_address(host)
    if address is None:
        return host.lower().rstrip(".") == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return not (mapped or address).is_global


def _host(host: str) -> str:
    if host_address(host) is not None:
        return host
    if len(host) > 253 or not _HOSTNAME.fullmatch(host):
        raise ValueError("must be a host name or an IP address")
    last = host.rstrip(".").rpartition(".")[2]
    if last.isdigit() or last.lower().startswith("0x"):
        raise ValueError("looks like a number: write an IPv4 address as four decimal parts")
    return host


def _base_url(text: str) -> str:
    if not _VISIBLE.fullmatch(text) or "\\" in text:
        raise ValueError("must be a URL in visible ASCII (a host in other letters as punycode)")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("is not a URL") from None
    _check_url(url, text, port)
    return f"{url.scheme}{text[len(url.scheme) :]}".rstrip("/")


def _check_url(url: SplitResult, text: str, port: int | None) -> None:
    if url.scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if "%" in url.netloc:
        raise ValueError("has a host with a percent sign")
    if "@" in url.netloc:
        raise ValueError("must not hold credentials: write them under `credentials`")
    if "#" in text or "?" in text:
        raise ValueError("must not hold a query or fragment: write parameters under `query`")
    if not url.hostname:
        raise ValueError("has no host")
    if port == 0 or url.netloc.endswith(":"):
        raise ValueError("has no usable port")
    _host(url.hostname)
    address = host_address(url.hostname)
    if ("[" in url.netloc) != isinstance(address, ipaddress.IPv6Address):
        raise ValueError("must hold an IPv6 address, and only that, in brackets")
    if address is not None and (address.is_unspecified or address.is_multicast):
        raise ValueError("names an address that nothing can listen on")
    if not _URL_PATH.fullmatch(url.path) or {".", ".."} & set(url.path.split("/")):
        raise ValueError("has a path with characters or segments that do not belong there")


def _path_template(text: str) -> str:
    if not _TEMPLATE.fullmatch(text) or {".", ".."} & set(text.split("/")):
        raise ValueError("must be a path such as /deployments/{model}/{endpoint}")
    if text.count("{endpoint}") > 1 or text.count("{model}") > 1:
        raise ValueError("may hold {model} and {endpoint} once each")
    return text


# Headers that the gateway writes itself, or that would change where a message ends.
_RESERVED_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "anthropic-beta",
        "anthropic-version",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "openai-beta",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-request-id",
    }
)


def _header_name(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError("must be a header name")
    if text.lower() in _RESERVED_HEADERS or text.lower().startswith(("proxy-", "x-sentinel-")):
        raise ValueError("is a header that cannot carry a key")
    return text


def _operator_key(secret: SecretStr) -> SecretStr:
    key = secret.get_secret_value()
    if not 16 <= len(key) <= 512 or not _VISIBLE.fullmatch(key):
        raise ValueError("must be 16 to 512 visible ASCII characters")
    if key.startswith(ISSUED_PREFIX) and not issued_key_well_formed(key):
        raise ValueError(f"begins with {ISSUED_PREFIX} but is not a key that Sentinel issued")
    return secret


def _upstream_key(secret: SecretStr) -> SecretStr:
    key = secret.get_secret_value()
    if len(key) > 4096 or not _VISIBLE.fullmatch(key):
        raise ValueError("must be 1 to 4096 visible ASCII characters")
    return secret


def _pepper(secret: SecretStr) -> SecretStr:
    if not 32 <= len(secret.get_secret_value().encode()) <= 1024:
        raise ValueError("must be 32 to 1024 bytes")
    return secret


def _account_id(text: str) -> str:
    if fault := account_fault(text):
        raise ValueError(fault)
    return text


def _external_id(text: str) -> str:
    if not text.strip() or len(text) > 256 or not text.isprintable():
        raise ValueError("must be 1 to 256 printable characters, not blank")
    return text


def _model(text: str) -> str:
    if fault := model_fault(text):
        raise ValueError(fault)
    return text


def _prefix(text: str) -> str:
    if text.startswith("ft:"):
        raise ValueError('must be what follows "ft:", which is passed over in a model\'s name')
    return _model(text)


def _pattern(text: str) -> str:
    if fault := pattern_fault(text):
        raise ValueError(fault)
    return text


def _path(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError("must be a path")
    return text


def _ca_file(text: str) -> str:
    try:
        with Path(_path(text)).open("rb") as file:
            content = file.read(16 << 20)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise ValueError("holds no PEM certificate")
    return text


def _matching(pattern: str, sentence: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(sentence)
        return text

    return AfterValidator(check)


_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME_SENTENCE: Final = (
    "must be 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
)
_HASH_SENTENCE: Final = "must be 64 hexadecimal digits (`sentinel keys hash` makes them)"


Host = Annotated[str, AfterValidator(_host)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
PathTemplate = Annotated[str, AfterValidator(_path_template)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
OperatorKey = Annotated[SecretStr, AfterValidator(_operator_key)]
UpstreamKey = Annotated[SecretStr, AfterValidator(_upstream_key)]
Pepper = Annotated[SecretStr, AfterValidator(_pepper)]
AccountId = Annotated[str, AfterValidator(_account_id)]
ExternalId = Annotated[str, AfterValidator(_external_id)]
ModelName = Annotated[str, AfterValidator(_model)]
ModelPattern = Annotated[str, AfterValidator(_pattern)]
ModelPrefix = Annotated[str, AfterValidator(_prefix)]
FilePath = Annotated[str, AfterValidator(_path)]
DirectoryPath = Annotated[str, AfterValidator(_path)]
CaFile = Annotated[str, AfterValidator(_ca_file)]
UpstreamName = Annotated[str, _matching(_NAME, _NAME_SENTENCE)]
KeyId = Annotated[str, _matching(_NAME, _NAME_SENTENCE)]
ShareName = Annotated[str, _matching(_NAME, _NAME_SENTENCE)]
CacheTag = Annotated[str, _matching(_NAME, _NAME_SENTENCE)]
KeyHash = Annotated[str, _matching(r"[0-9a-fA-F]{64}", _HASH_SENTENCE)]
QueryName = Annotated[
    str, _matching(r"[A-Za-z0-9._~-]{1,64}", "must be 1 to 64 letters, digits or any of . _ ~ -")
]
QueryValue = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9._~:@,/-]{1,256}", "must be 1 to 256 letters, digits or any of . _ ~ : @ , / -"
    ),
]
