"""Makes a valid object of a broken one, so that what is right in it can still be checked against other objects.

One load reports all mistakes at once (§6.3). References, scales, orders and levels are checked on models, and a broken
object gives none. So its broken fields are left out, or take a sample value that no later check can object to; the
result only serves to find more mistakes, because a load with a mistake is refused. Items of lists keep their positions,
because later checks name them by index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from earnbook.rules.definitions_models import TAGS, choose_model, submodels
from earnbook.rules.models_fields import Definition

Model = TypeVar("Model", bound=Definition)

ROUNDS_MAX = 8
"""How often an object is mended: each round may bring to light what the one before has hidden."""

_SAMPLES: Mapping[str, object] = {
    "name": "-",
    "display_name": "-",
    "condition": "true",
    "amount": "1",
    "value": "1",
    "reference_id": "'-'",
    "external_id": "'-'",
    "participant_id": "'-'",
    "limit": "1",
    "unit_cost": "1",
    "tag": "-",
    "level": "",
    "event_name": "-",
    "status": "DRAFT",
    "redemption_type": "UNIT_BASED",
    "delay": "1s",
    "cron_expression": "0 0 * * *",
    "interval": "24h",
    "actions": ({"type": "TAG", "tag": "-"},),
}
"""Values of required fields, by name, that are right wherever the field stands and mean nothing elsewhere."""

_KEPT = frozenset({"order", "status"})
"""Optional fields that other objects are checked against."""


class _HopelessError(Exception):
    """Nothing is left of the object that could be checked."""


def mend(value: Any, model: type[Model], error: ValidationError) -> tuple[Model | None, list[ErrorDetails]]:
    """A model of what is right in a plain value, or None; and mistakes that only show once others are mended.

    The value is changed. `error` is what its validation has raised.
    """
    later: list[ErrorDetails] = []
    seen = {_identity(details) for details in error.errors(include_url=False)}
    for _ in range(ROUNDS_MAX):
        try:
            _Mender(value, model).run(error.errors(include_url=False))
            return model.model_validate(value), later
        except _HopelessError:
            return None, later
        except ValidationError as next_error:
            error = next_error
            found = [details for details in error.errors(include_url=False) if _identity(details) not in seen]
            later += [details for details in found if _is_of_object(value, details)]
            seen.update(map(_identity, found))
    return None, later


def _identity(details: ErrorDetails) -> tuple[object, ...]:
    return details["loc"], details["type"], details["msg"]


def _is_of_object(value: Any, details: ErrorDetails) -> bool:
    """Whether a mistake is one of fields that go together wrongly: it shows only when each is right by itself."""
    return details["type"] == "earnbook" and isinstance(_Place(value, details["loc"]).node, dict)


class _Place:
    """A part of a plain value, with the containers around it; steps that name no member are passed over."""

    def __init__(self, root: Any, location: Sequence[str | int]) -> None:
        self.node = root
        self.steps: list[str | int] = []
        self.around: list[Any] = []
        for step in location:
            is_item = isinstance(self.node, list) and isinstance(step, int) and step < len(self.node)
            if is_item or (isinstance(self.node, dict) and step in self.node):
                self.around.append(self.node)
                self.steps.append(step)
                self.node = self.node[step]


class _Mender:
    """Mends one plain value in place."""

    def __init__(self, value: Any, model: type[Definition]) -> None:
        self._value = value
        self._model = model

    def run(self, errors: Sequence[ErrorDetails]) -> None:
        for details in errors:
            place = _Place(self._value, details["loc"])
            if details["type"] == "missing":
                self._add(place, str(details["loc"][-1]))
            elif isinstance(place.node, dict) and not details["type"].startswith("union_tag"):
                self._reduce(place)
            else:
                self._replace(place)

    def _add(self, place: _Place, field: str) -> None:
        """A sample for a missing field; without one the object around it is of no use."""
        sample = _sample(place.steps, field)
        if sample is None or not isinstance(place.node, dict):
            self._drop(place)
        else:
            place.node[field] = sample

    def _replace(self, place: _Place) -> None:
        """A sample for a wrong value; without one the field is left out."""
        sample = _sample(place.steps[:-1], str(place.steps[-1])) if place.steps else None
        if sample is None or place.node == sample or isinstance(place.around[-1], list):
            self._drop(place)
        else:
            place.around[-1][place.steps[-1]] = sample

    def _reduce(self, place: _Place) -> None:
        """Fields that go together wrongly: leave out the optional ones."""
        model = self._model_at(place)
        optional = [] if model is None else [name for name in place.node if _is_optional(model, name)]
        if not optional:
            self._drop(place)
        for name in optional:
            del place.node[name]

    def _drop(self, place: _Place) -> None:
        """Leave out a part: a field, or an item, whose place a sample takes so that the others keep theirs."""
        if not place.steps:
            raise _HopelessError
        container, step = place.around[-1], place.steps[-1]
        if isinstance(container, dict):
            del container[step]
            return
        name = next((str(step) for step in reversed(place.steps) if isinstance(step, str)), "")
        sample = _sample_item(name, int(step))
        if sample is None or container[int(step)] == sample:
            del container[int(step) :]
        else:
            container[int(step)] = sample

    def _model_at(self, place: _Place) -> type[Definition] | None:
        model: type[Definition] | None = self._model
        alternatives: Sequence[type[Definition]] = ()
        for step, node in zip(place.steps, [*place.around, place.node][1:], strict=True):
            if isinstance(step, str):
                alternatives = submodels(model, step) if model is not None else ()
            if isinstance(node, dict):
                model = choose_model({tag: str(node.get(tag, "")) for tag in TAGS}, alternatives)
        return model


def _sample(around: Sequence[str | int], field: str) -> object | None:
    if field == "key" and around:  # At the top it is the object's own key, which must not be made up.
        return "-".join(map(str, around))
    if field == "id" and around:
        return "'-'"
    return _SAMPLES.get(field)


def _sample_item(name: str, index: int) -> dict[str, object] | None:
    """What may stand in a list for an item that is of no use."""
    if name == "actions":
        return {"type": "TAG", "tag": "-"}
    if name == "levels":
        return {"key": f"-{index}", "rank": 1_000_000 + index}
    return None


def _is_optional(model: type[Definition], name: str) -> bool:
    """Whether a field may be left out without hiding a mistake of something else."""
    return not model.model_fields[name].is_required() and name not in _KEPT and not submodels(model, name)
