"""Prefetch: the state of everybody whom a batch can touch, read from the book before anything is decided.

Who is needed follows from the records (participants and recipients), from what rules and operations name (targets and
groups), and from time (holders with a lot or a level that falls due). What was read once in a run stays: from then on
the engine's state is the truth.
"""

from __future__ import annotations

from functools import partial

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.schema import TIME_NONE, EntityType, Int64s, Kind, StateType, Status
from earnbook.ledger.state import State
from earnbook.ledger.state_load import (
    add_holders,
    add_persons,
    ascending,
    load_attributes,
    load_balances,
    load_budgets,
    load_counters,
    load_enrollments,
    load_lots,
    load_overdrafts,
    load_profiles,
    load_schedule,
    load_system_balances,
    load_tags,
    load_tiers,
    set_origins,
)
from earnbook.pipeline.execute import Engine
from earnbook.pipeline.lifecycles import find_tier_holders
from earnbook.pipeline.load import (
    find_due_holders,
    find_enrolled_holders,
    find_holders,
    load_automations,
    load_budget_terms,
    load_state,
)
from earnbook.pipeline.people import Named
from earnbook.pipeline.templates import stored_templates
from earnbook.pipeline.terms_tiers import places_of

_TEXT = int(Kind.TEXT)


def prefetch_start(connection: duckdb.DuckDBPyConnection, engine: Engine) -> None:
    """Load the programs' state and the system accounts, and what events that wait will say; once a run."""
    known = [template.action for template in engine.templates]
    engine.templates = (*engine.templates, *stored_templates(connection, known))
    attach(connection, engine)
    has_rewards = engine.run.needs.has_redemptions
    state = load_state(connection, pa.array([], pa.int64()), has_rewards=has_rewards)
    _load(engine, engine.state, state)
    if engine.run.needs.unlinks:
        engine.operations.usage.load(connection)
    rows = state["system_balances"].select(["account", "asset", "amount", "last_entry_seq"]).to_pylist()
    stored = state["budgets"]
    numbers, consumed = stored.column("budget").to_numpy(), stored.column("consumed").to_numpy()
    load_budgets(engine.state, numbers=numbers, consumed=consumed)
    in_force = {plan.number for plan in engine.run.budgets}
    for number, amount in zip(numbers.tolist(), consumed.tolist(), strict=True):
        if number not in in_force:
            engine.ended_budgets[number] = amount
    engine.budget_terms = load_budget_terms(connection)
    engine.automations.take_in(load_automations(connection))
    load_system_balances(
        engine.state,
        [(row["account"], row["asset"] - 1, int(row["amount"]), row["last_entry_seq"]) for row in rows],
    )


def attach(connection: duckdb.DuckDBPyConnection, engine: Engine) -> None:
    """From now on what the engine asks for while it decides is read by this session."""
    engine.load_enrolled = partial(prefetch_enrolled, connection, engine)


def prefetch_records(
    connection: duckdb.DuckDBPyConnection, engine: Engine, records: pa.Table, *, has_holders: bool
) -> Named:
    """Load the holders that the records name, those not yet in the engine; returns whom the records name.

    `has_holders` says whether the book had holders when the run began: those of the run itself are in the engine.
    """
    named = engine.people.name(records)
    engine.operations.name(records)
    prefetch_persons(connection, engine, has_holders=has_holders)
    if engine.run.needs.looks_back:
        waiting = engine.operations.waiting
        _load_unnamed(connection, engine, waiting.find_redemptions(connection))
        waiting.find_lots(connection, records, named.participant, engine.operations.money.group)
    return named


def prefetch_persons(connection: duckdb.DuckDBPyConnection, engine: Engine, *, has_holders: bool) -> None:
    """Load those of the persons named since the last time who are holders of the book.

    Whoever names persons calls this before the kernel meets them, and not while a record is half done.
    """
    first = engine.state.persons
    if first == len(engine.people):
        return
    numbers = _known_numbers(connection, engine, first) if has_holders else np.zeros(0, np.int64)
    # An id may have made its external id, or key, a person as well; nobody has number 0.
    numbers = np.concatenate([numbers, np.zeros(len(engine.people) - first - len(numbers), np.int64)])
    persons = np.arange(first, len(engine.people))
    homes = np.where(numbers > 0, numbers, persons) % len(engine.states)
    engine.homes = np.concatenate([engine.homes, homes])
    for state in engine.states:
        add_persons(state, state.slots_of(numbers) if numbers.any() else np.full(len(numbers), -1, np.int64))
    if engine.people.has_ids:
        for state in engine.states:
            set_origins(state, engine.people.origins())


def prefetch_due(connection: duckdb.DuckDBPyConnection, engine: Engine, until: int) -> None:
    """Load the holders of the book with something due at or before `until` (§4.4)."""
    _load_unnamed(connection, engine, due_holders(connection, engine, until))


def due_holders(connection: duckdb.DuckDBPyConnection, engine: Engine, until: int) -> Int64s:
    """Numbers of the holders of the book with something due at or before `until`, ascending."""
    keys = engine.run.keys[StateType.COUNTER]
    counters = dict(zip(keys.texts, keys.numbers.tolist(), strict=True))
    others = find_due_holders(connection, until).to_numpy()
    return np.union1d(
        others, find_tier_holders(connection, engine.run.tiers, counters, after=engine.state.clock, until=until)
    )


def prefetch_enrolled(connection: duckdb.DuckDBPyConnection, engine: Engine, program: int) -> None:
    """Load the holders of the book that are enrolled in a program (its slot)."""
    _load_unnamed(connection, engine, find_enrolled_holders(connection, program + 1).to_numpy())


def _load_unnamed(connection: duckdb.DuckDBPyConnection, engine: Engine, numbers: Int64s) -> None:
    """Load holders whom no record names, those not yet in the engine; participants become persons of the run."""
    holders = _load_holders(connection, engine, numbers)
    if holders is None:
        return
    holders = holders.filter(pc.equal(holders.column("kind"), int(EntityType.PARTICIPANT)))
    engine.people.name_external_ids(holders.column("external_id").combine_chunks())
    prefetch_persons(connection, engine, has_holders=True)


def _known_numbers(connection: duckdb.DuckDBPyConnection, engine: Engine, first: int) -> Int64s:
    """The numbers of new persons that are holders of the book, who are loaded now; 0 for the others."""
    people = engine.people
    for (persons, ids), kind, set_origin in (
        (people.ids(first), EntityType.PARTICIPANT, people.set_origin),
        (people.group_ids(first), EntityType.GROUP, people.set_group_origin),
    ):
        if len(persons):
            found = find_holders(connection, ids=ids, kind=kind)
            owner = dict(zip(found.column("given").to_pylist(), found.column("external_id").to_pylist(), strict=True))
            for person, text in zip(persons.tolist(), ids.to_pylist(), strict=True):
                if text in owner:
                    set_origin(person, owner[text])
    numbers = np.zeros(len(people) - first, np.int64)
    for (persons, texts), kind in (
        (people.external_ids(first), EntityType.PARTICIPANT),
        (people.group_keys(first), EntityType.GROUP),
    ):
        if not len(persons):
            continue
        found = find_holders(connection, external_ids=texts, kind=kind)
        places = pc.index_in(found.column("given"), value_set=texts).to_numpy()
        numbers[persons[places] - first] = found.column("number").to_numpy()
        _note_own_ids(engine, found, persons[places])
    _load_holders(connection, engine, ascending(numbers[numbers > 0]))
    return numbers


def _note_own_ids(engine: Engine, found: pa.Table, persons: Int64s) -> None:
    """Participants of the book that got an id at creation are not known by the id that follows from their key."""
    given_ids = found.column("given_id")
    if given_ids.null_count < len(given_ids):
        for person, given_id in zip(persons.tolist(), given_ids.to_pylist(), strict=True):
            if given_id is not None:
                engine.people.give_id(person, given_id)


def _load_holders(connection: duckdb.DuckDBPyConnection, engine: Engine, numbers: Int64s) -> pa.Table | None:
    """Load holders, ascending, that are not loaded yet, each into the State of its partition.

    Returns their rows of `holders`, None where there are none.
    """
    is_known = np.any([state.slots_of(numbers) >= 0 for state in engine.states], axis=0)
    numbers = numbers[~is_known]
    if not len(numbers):
        return None
    has_members, has_rewards = engine.run.terms.has_members, engine.run.needs.has_redemptions
    rows = load_state(
        connection,
        pa.array(numbers, pa.int64()),
        has_programs=False,
        has_members=has_members,
        has_rewards=has_rewards,
    )
    # Rows of `holders` are in the order of their numbers, as the numbers are.
    kinds = rows["holders"].column("kind").to_numpy()
    statuses = np.full(len(numbers), int(Status.ACTIVE))
    changed = rows["holder_statuses"]
    statuses[np.searchsorted(numbers, changed.column("holder").to_numpy())] = changed.column("status").to_numpy()
    for partition, state in enumerate(engine.states):
        own = numbers % len(engine.states) == partition
        add_holders(state, numbers[own], statuses[own], kinds=kinds[own])
        _load(engine, state, rows if own.all() else _of_holders(rows, numbers[own]))
    return rows["holders"]


def _of_holders(tables: dict[str, pa.Table], numbers: Int64s) -> dict[str, pa.Table]:
    """The rows of these holders alone, of tables of several partitions' holders."""
    holders = pa.array(numbers, pa.int64())
    return {name: _rows_of(table, holders) for name, table in tables.items()}


def _rows_of(table: pa.Table, holders: pa.Array) -> pa.Table:
    column = next((column for column in ("account", "entity", "holder") if column in table.column_names), None)
    if column is None:
        return table
    entities = table.column(column)
    if column == "account":
        entities = pc.shift_right(entities, 2)
    return table.filter(pc.is_in(entities, value_set=holders))


def _load(engine: Engine, state: State, tables: dict[str, pa.Table]) -> None:
    """Put state rows into a State of the engine; numbers become slots, indexes and columns, texts codes."""
    rows = {name: _Rows(engine, table) for name, table in tables.items()}
    balances = rows["balances"]
    account = balances["account"]
    load_balances(
        state,
        slots=state.slots_of(np.where(account < 0, account, account >> 2)),
        assets=balances["asset"] - 1,
        buckets=np.where(account < 0, 1, account & 3),
        amounts=balances["amount"],
        last=balances["last_entry_seq"],
    )
    drawn = rows["overdrafts"]
    load_overdrafts(state, slots=state.slots_of(drawn["holder"]), assets=drawn["asset"] - 1, amounts=drawn["amount"])
    enrolled = rows["enrollments"]
    load_enrollments(
        state,
        slots=state.slots_of(enrolled["holder"]),
        programs=enrolled["program"] - 1,
        status=enrolled["status"],
    )
    counters = rows["counters"]
    load_counters(
        state,
        slots=state.slots_of(counters["entity"]),
        keys=counters.keys(StateType.COUNTER),
        low=counters["low"],
        high=counters["high"],
        scale=counters["scale"],
        reset_at=counters["reset_at"],
        reset_after=counters["reset_after"],
    )
    tags = rows["tags"]
    load_tags(state, slots=state.slots_of(tags["entity"]), keys=tags.keys(StateType.TAG))
    attributes = rows["attributes"]
    texts = engine.pool.intern(attributes.table.column("text"))
    load_attributes(
        state,
        slots=state.slots_of(attributes["entity"]),
        keys=attributes.keys(StateType.ATTRIBUTE),
        kinds=attributes["kind"],
        values=np.where(attributes["kind"] == _TEXT, texts, attributes["value"]),
        scales=attributes["scale"],
    )
    tiers = rows["tiers"]
    columns, levels, noted = places_of(
        engine.run.tiers, tiers["tier"], tiers["level"], tiers["noted_level"], tiers["own_expiry"]
    )
    load_tiers(
        state,
        slots=state.slots_of(tiers["holder"]),
        tiers=columns,
        levels=levels,
        acquired_at=tiers["acquired_at"],
        expires_at=tiers["expires_at"],
        downgrade_at=tiers["downgrade_at"],
        noted=noted,
    )
    if "profiles" in rows:
        profiles = rows["profiles"]
        load_profiles(
            state,
            slots=state.slots_of(profiles["holder"]),
            fields=profiles["field"],
            texts=engine.pool.intern(profiles.table.column("text")),
        )
        members = rows["members"]
        state.members.load(
            zip(*(members[name].tolist() for name in ("holder", "member", "role", "status")), strict=True)
        )
    if "reward_counts" in tables:
        engine.operations.waiting.load_counts(tables["reward_counts"])
    lots = rows["open_lots"]
    same = ("lot_seq", "program", "source", "root", "status", "remaining", "created_at", "expires_at", "matures_at")
    texts_of = ("reference", "hold_reference")
    load_lots(
        state,
        {name: lots[name] for name in (*same, "provisional")}
        | {name: engine.pool.intern(lots.table.column(name)) for name in texts_of}
        | {"slot": state.slots_of(lots["holder"]), "asset": lots["asset"] - 1},
    )
    _load_schedule(engine, rows["schedule"])
    engine.automations.take_in_subscriptions(tables["subscriptions"])


def _load_schedule(engine: Engine, waiting: _Rows) -> None:
    if not waiting.table.num_rows:
        return
    places = {template.action: place for place, template in enumerate(engine.templates)}
    names = ("parent", "parent_program", "parent_key")
    parents = zip(*(waiting.table.column(name).to_pylist() for name in names), strict=True)
    engine.generated.remember({log_seq: (program - 1, key) for log_seq, program, key in parents})
    load_schedule(
        engine.state,
        slots=engine.state.slots_of(waiting["holder"]),
        at_times=waiting["due_at"],
        parents=waiting["parent"],
        positions=waiting["position"],
        actions=waiting["action"],
        templates=[places[action] for action in waiting.table.column("action").to_pylist()],
        descents=2 * waiting["generation"] + waiting["under_broadcast"],
    )


class _Rows:
    """A state table as integer arrays; null becomes TIME_NONE."""

    def __init__(self, engine: Engine, table: pa.Table) -> None:
        self._engine = engine
        self.table = table

    def __getitem__(self, name: str) -> Int64s:
        column = self.table.column(name)
        if column.null_count:
            column = pc.fill_null(column, TIME_NONE)
        numbers: Int64s = column.to_numpy().astype(np.int64)
        return numbers

    def keys(self, state_type: StateType) -> Int64s:
        """The columns of the cells of the rows' keys."""
        return np.searchsorted(self._engine.run.keys[state_type].numbers, self["key"])
