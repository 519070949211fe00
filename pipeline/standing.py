"""How programs stand when a run begins: status and asset links in force (§6.3).

Operations may set both. They stay until the files state something they did not state before: a status that differs, a
link that is new. What the files no longer state removes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb

from earnbook.ledger.schema import Status
from earnbook.pipeline.load import load_asset_links, load_program_statuses
from earnbook.pipeline.registry import Registry
from earnbook.pipeline.ruleset import RulesetLoad
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.rules.canonical import read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Statuses by program number, and links as (program, asset) numbers."""

    statuses: Mapping[int, Status]
    links: frozenset[tuple[int, int]]


def standing_of(connection: duckdb.DuckDBPyConnection, registry: Registry, load: RulesetLoad) -> Standing:
    """What is in force once the load of the run is; objects must have their numbers."""
    statuses = {program: Status(code) for program, code in load_program_statuses(connection).items()}
    statuses |= dict(_stated_statuses(registry, load))
    links = load_asset_links(connection) | set(_stated_links(registry, load))
    return Standing(statuses=statuses, links=frozenset(links))


def _stated_statuses(registry: Registry, load: RulesetLoad) -> Iterator[tuple[int, Status]]:
    """The statuses that the load states anew."""
    for change in load.changes:
        if change.kind == "program" and (change.change_type == "created" or "status" in read_json(change.changes)):
            number = registry.find_object(ObjectKind.PROGRAM, change.id)
            assert number is not None
            yield number, Status[read_json(change.snapshot)["status"]]


def _stated_links(registry: Registry, load: RulesetLoad) -> Iterator[tuple[int, int]]:
    """The links that the load states anew."""
    programs = {entry.key: number for number, entry in enumerate(registry.objects(ObjectKind.PROGRAM), start=1)}
    for change in load.changes:
        if change.kind != "asset":
            continue
        stated = read_json(change.snapshot)["programs"]
        known = [] if change.change_type == "created" else stated
        known = read_json(change.changes).get("programs", {"old": known})["old"]
        asset = registry.find_object(ObjectKind.ASSET, change.id)
        assert asset is not None
        yield from ((programs[key], asset) for key in stated if key not in known)
