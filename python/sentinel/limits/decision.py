"""What a limiter is asked and what it answers, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict

from sentinel import _core

__all__ = ["Cost", "Costs", "Decision", "Headroom", "Reservation"]


class Costs(TypedDict, total=False):
    """A cost in every unit that a limiter has rules for."""

    requests: int
    tokens: int
    micro_usd: int


Cost = int | Costs


class Headroom(NamedTuple):
    """The rule of one kind with the least left, after the decision.

    `limit` is its burst, which `remaining` counts down from and which is whole again after
    `reset_seconds`. Of `concurrency` it is the number of places; when one comes back nobody knows.
    """

    limit: int
    remaining: int
    reset_seconds: float


if TYPE_CHECKING:

    class Reservation:
        """A name for what was taken, good for one `settle`, `release` or `refund` of the limiter
        that gave it. Equal and hashable by what it names.
        """

        @property
        def id(self) -> int: ...

    class Decision:
        """Whether a call may pass; truthy if it may. A value: it stays what it was.

        `remaining` is what is left in requests, if the limiter has a rule of requests, else in
        tokens, else in micro-USD, else in places of `concurrency`; all of them are in the members
        of those names. `retry_after_seconds` is 0 if the call may pass, and None if it never can:
        its cost is above the burst. `reservation` is None if the call may not pass or nothing is
        held.
        """

        @property
        def allowed(self) -> bool: ...
        @property
        def remaining(self) -> int: ...
        @property
        def retry_after_seconds(self) -> float | None: ...
        @property
        def reservation(self) -> Reservation | None: ...
        @property
        def requests(self) -> Headroom | None: ...
        @property
        def tokens(self) -> Headroom | None: ...
        @property
        def micro_usd(self) -> Headroom | None: ...
        @property
        def concurrency(self) -> Headroom | None: ...
        def __bool__(self) -> bool: ...
        def headers(self) -> dict[str, str]:
            """What a reply over HTTP tells of it: `x-ratelimit-*` of requests and tokens, as OpenAI
            writes them, and `Retry-After` if waiting helps.
            """

else:
    Reservation = _core.Reservation
    Decision = _core.Decision
