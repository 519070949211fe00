"""What random operations are drawn from, and how their members are written: JSON text under each name."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.features import participant_id

PEOPLE = ("alice", "alice", "bob", "bob", "Zoë", "12", "newcomer")
Document = Mapping[str, Any]
Members = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What an operation is drawn from: luck, the definitions, the program it is about, and the rows before it.

    `number` is that of the row; rows of a log may have more lines than numbers.
    """

    chance: random.Random
    definitions: Document
    program: Document
    number: int
    rows: Sequence[str] = ()


def quoted(value: object) -> str:
    """JSON text."""
    return json.dumps(value, ensure_ascii=False)


def operation(kind: str, program: Document | None, **fields: object) -> Members:
    """An operation; `program` None leaves `program_id` out."""
    members = {"type": quoted(kind)}
    if program is not None:
        members["program_id"] = quoted(program["key"])
    return members | {name: quoted(value) for name, value in fields.items() if value is not None}


def person(chance: random.Random) -> dict[str, object]:
    """A participant, named by external id or by id."""
    name = chance.choice(PEOPLE)
    return {"participant_id": participant_id(name)} if chance.random() < 0.15 else {"external_id": name}
