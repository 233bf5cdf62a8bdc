"""The question and the answer of /v1/query."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["CacheOutcome", "Query", "QueryAnswer"]

_MODEL = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,255}$"


class Query(BaseModel):
    """One question; nothing but these members is taken."""

    model_config = ConfigDict(extra="forbid")

    prompt: Annotated[str, Field(min_length=1, max_length=10_000)]
    model: Annotated[str, Field(pattern=_MODEL)] = "gpt-4o-mini"
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    cache: Annotated[bool, Field(description="Whether a cached answer may be given.")] = True

    @field_validator("prompt")
    @classmethod
    def _not_blank(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("must not be blank")
        return prompt

    def as_chat(self) -> dict[str, Any]:
        """The chat completion that answers it."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": self.prompt}],
        }
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        return body


class CacheOutcome(BaseModel):
    """What the cache had to say, and how old the answer is."""

    verdict: str
    age_seconds: int
    similarity: float | None = None


class QueryAnswer(BaseModel):
    """`id` is the request id, `usage` the provider's own, the cost whole micro-USD."""

    id: str
    answer: str
    model: str
    cache: CacheOutcome
    usage: dict[str, Any]
    cost_micro_usd: int
