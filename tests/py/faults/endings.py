"""What has to come of every fault an upstream can have: the expectations, as data.

`PLAIN` and `STREAMED` name every fault of `sentinel.testing.FAULTS`; a test compares the sets, so a
new fault must be decided on before it can be scripted. The prompt carries the directive, so that it
also strikes when the gateway tries a fresh connection.

The rules behind the tables:
- Nothing but a whole, well-formed answer is an answer. Before the client has got a byte, anything
  else is 502 `upstream_error`, or 504 `upstream_timeout` when a deadline ended it.
- Once a stream has begun, the same comes as its last event, and the stream never ends like a whole
  one.
- `upstream_error`: no good head came, or what came is no answer. `upstream_cut`: a good head came,
  then the rest of the body did not.
- What HTTP allows (chunk extensions, trailers, 1xx, HTTP/1.0) is invisible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sentinel.testing import FAULTS

__all__ = ["CHUNKS", "PLAIN", "STREAMED", "STRIKE_AT", "Ending"]

CHUNKS = 6
STRIKE_AT = 3

Bill = Literal["usage", "relayed", "nothing"]


@dataclass(frozen=True)
class Ending:
    """How one call ends for its client and in the books."""

    outcome: str = "done"
    status: int = 200
    code: str | None = None
    """Of the error: in the body, or in the stream's last event."""
    relayed: int = CHUNKS
    """Pieces of the answer that reach the client, streamed."""
    bill: Bill = "usage"
    """The provider's usage, an estimate by what was relayed, or nothing."""
    passes: bool = False
    """The error is the upstream's own and passes as it is."""
    impatient: bool = False
    """Only a deadline ends it: the gateway has short ones."""


_GOOD = Ending()
_NO_HEAD = Ending("upstream_error", 502, "upstream_error", relayed=0, bill="relayed")
_NONSENSE = _NO_HEAD
_CUT_EMPTY = Ending("upstream_cut", 502, "upstream_error", relayed=0, bill="relayed")
_CUT = Ending("upstream_cut", 200, "upstream_error", relayed=STRIKE_AT, bill="relayed")
_CUT_AT_THE_END = Ending("upstream_cut", 200, "upstream_error")
_BROKEN = Ending("upstream_error", 200, "upstream_error", relayed=STRIKE_AT, bill="relayed")
_REFUSED = Ending("upstream_error", 401, "invalid_api_key", relayed=0, bill="nothing", passes=True)
_ERROR_200 = Ending("upstream_error", 502, "upstream_error", relayed=0, bill="nothing")
_ERROR_EVENT = Ending("upstream_error", 200, None, relayed=STRIKE_AT, bill="relayed", passes=True)
_LATE_HEAD = Ending(
    "upstream_error", 504, "upstream_timeout", relayed=0, bill="relayed", impatient=True
)
_LATE_BODY = Ending(
    "upstream_cut", 504, "upstream_timeout", relayed=0, bill="relayed", impatient=True
)
_LATE_EVENT = Ending(
    "upstream_cut", 200, "upstream_timeout", relayed=STRIKE_AT, bill="relayed", impatient=True
)
_LATE_END = Ending("upstream_cut", 200, "upstream_timeout", impatient=True)

_IN_BOTH: dict[str, Ending] = {
    "cut_before_head": _NO_HEAD,
    "cut_mid_head": _NO_HEAD,
    "cut_after_head": _CUT_EMPTY,
    "reset_before_head": _NO_HEAD,
    "reset_mid_head": _NO_HEAD,
    "reset_after_head": _CUT_EMPTY,
    "stall_before_head": _LATE_HEAD,
    "stall_mid_head": _LATE_HEAD,
    "stall_after_head": _LATE_BODY,
    "html": _NONSENSE,
    "empty_body": _NONSENSE,
    "echo_credential": _REFUSED,
    "echo_credential_header": _GOOD,
    "redirect": Ending("upstream_error", 502, "upstream_error", relayed=0, bill="nothing"),
    "content_length_twice": _NO_HEAD,
    "content_length_garbage": _NO_HEAD,
    "length_and_chunked": _NO_HEAD,
    "chunk_extensions": _GOOD,
    "trailers": _GOOD,
    "http10": _GOOD,
    "extra_response": _GOOD,
    "bad_status_line": _NO_HEAD,
    "garbage": _NO_HEAD,
    "header_nul": _NO_HEAD,
    "header_bare_cr": _NO_HEAD,
    "header_no_colon": _NO_HEAD,
    "header_folded": _NO_HEAD,
    "header_huge": _NO_HEAD,
    "header_many": _NO_HEAD,
    "bare_lf": _NO_HEAD,
    "informational_100": _GOOD,
    "informational_103": _GOOD,
    "informational_flood": _NO_HEAD,
    "switching_101": _NO_HEAD,
    "trickle_head": _LATE_HEAD,
    "trickle_body": _LATE_BODY,
    "gzip": _NO_HEAD,
    "gzip_lie": _NO_HEAD,
    "connection_close": _GOOD,
    "close_idle": _GOOD,
}

PLAIN: dict[str, Ending] = {
    **_IN_BOTH,
    **{
        f"{action}_{phase}": ending
        for action, ending in (("cut", _CUT_EMPTY), ("reset", _CUT_EMPTY), ("stall", _LATE_BODY))
        for phase in ("mid_body", "mid_event", "between_events", "before_done")
    },
    "invalid_json": _NONSENSE,
    "not_an_object": _NONSENSE,
    "error_object": _ERROR_200,
    "error_event": _ERROR_200,
    "echo_credential_event": _ERROR_200,
    "no_terminal": _GOOD,  # there is no terminal event to leave out
    "no_done": _GOOD,
    "bad_utf8": _NONSENSE,
    "nul_bytes": _NONSENSE,
    "endless": _NONSENSE,  # over the bound on a reply
    "giant_line": _NONSENSE,
    "content_length_short": _NONSENSE,  # half of an object
    "content_length_long": _CUT_EMPTY,
    "bad_chunk_size": _CUT_EMPTY,
    "chunk_overflow": _CUT_EMPTY,
    "chunk_unclosed": _CUT_EMPTY,
}

STREAMED: dict[str, Ending] = {
    **_IN_BOTH,
    **{
        f"{action}_{phase}": ending
        for action, ending in (("cut", _CUT), ("reset", _CUT), ("stall", _LATE_EVENT))
        for phase in ("mid_body", "mid_event", "between_events")
    },
    "cut_before_done": _CUT_AT_THE_END,
    "reset_before_done": _CUT_AT_THE_END,
    "stall_before_done": _LATE_END,
    "invalid_json": _BROKEN,
    "not_an_object": _BROKEN,
    "error_object": _NONSENSE,  # no stream, whatever it says
    "error_event": _ERROR_EVENT,
    "echo_credential_event": _ERROR_EVENT,
    "no_terminal": _CUT,
    "no_done": _CUT_AT_THE_END,
    "bad_utf8": _BROKEN,
    "nul_bytes": _BROKEN,
    "endless": Ending("upstream_cut", 200, "upstream_timeout", -1, "relayed", impatient=True),
    "giant_line": _BROKEN,
    "content_length_short": Ending("upstream_cut", 200, "upstream_error", -1, "relayed"),
    "content_length_long": _GOOD,  # all of the stream came, its terminal event included
    "bad_chunk_size": Ending("upstream_cut", 200, "upstream_error", 0, "relayed"),
    "chunk_overflow": Ending("upstream_cut", 200, "upstream_error", 0, "relayed"),
    "chunk_unclosed": Ending("upstream_cut", 200, "upstream_error", 0, "relayed"),
}
"""`relayed` -1: as many as there are; the books must say the same."""

assert set(PLAIN) == set(STREAMED) == set(FAULTS), "every fault has its ending"
