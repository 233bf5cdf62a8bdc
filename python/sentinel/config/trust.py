"""Where certificates of trusted authorities may be found, most wanted first.

The engine's own libcrypto knows only its build's directory, which most systems lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["trust_files"]

_SYSTEM: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def trust_files(environ: Mapping[str, str]) -> list[str]:
    """`SSL_CERT_FILE` if set, the system's known places, certifi's bundle."""
    told = environ.get("SSL_CERT_FILE")
    files = [*([told] if told else []), *_SYSTEM, *_bundled()]
    return list(dict.fromkeys(files))


def _bundled() -> list[str]:
    try:
        import certifi
    except ImportError:
        return []
    return [certifi.where()]
