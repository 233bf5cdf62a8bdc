"""What every section of the configuration has in common, and the members that are not kept yet."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from sentinel.config.plain import Plain
from sentinel.config.units import Unit

__all__ = ["NotYet", "Section", "told"]


class Section(BaseModel):
    """Nothing unknown, nothing changed, nothing echoed."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def told(section: type[Section], entry: Plain, name: str) -> Any:
    """What a member with a unit will be: its default if left out, None if it cannot be read."""
    field = section.model_fields[name]
    if name not in entry:
        return field.default
    (unit,) = (mark for mark in field.metadata if isinstance(mark, Unit))
    try:
        return unit.parse(entry[name])
    except ValueError:
        return None


def _refuse(value: object) -> None:
    if value is not None:
        raise ValueError("not supported yet: this version does not have it, leave it out")


NotYet = Annotated[None, BeforeValidator(_refuse)]
