"""Which models a field of a definition may hold, and which of them a mapping in a file is meant to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from earnbook.rules.models_fields import Definition

TAGS = ("type", "schedule_type")
"""Fields by which the alternatives of a field are told apart."""


@cache
def submodels(model: type[Definition], name: str) -> tuple[type[Definition], ...]:
    """The models that a field may hold, directly or in a list."""
    return tuple(_models_in(model.model_fields[name].annotation))


def choose_model(tags: Mapping[str, str], alternatives: Sequence[type[Definition]]) -> type[Definition] | None:
    """The alternative that has the stated tags; None when none fits, or more than one."""
    if len(alternatives) == 1:
        return alternatives[0]
    fitting = [model for model in alternatives if all(_tag_fits(tags, model, tag) for tag in TAGS)]
    return fitting[0] if len(fitting) == 1 else None


def _models_in(annotation: Any) -> Iterator[type[Definition]]:
    if isinstance(annotation, type) and issubclass(annotation, Definition):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _tag_fits(tags: Mapping[str, str], model: type[Definition], tag: str) -> bool:
    return tag not in model.model_fields or tags.get(tag, "") in get_args(model.model_fields[tag].annotation)
