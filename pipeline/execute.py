"""Deciding batches: where rules and ledger meet. Tables in, tables out; no clock, no files, no book.

An `Engine` is the state of one run: the books of every holder its records name, the compiled rules, the text pool. For
each batch of conformed records it makes the columns, lets the kernel decide (due work, propose, apply), evaluates with
the closures what the kernel leaves out, and returns the rows of `pipeline.schema.BATCH_TABLES`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from decimal import Context, Decimal
from threading import RLock

import numpy as np
import pyarrow as pa

from earnbook.ledger import layout as at
from earnbook.ledger.amounts import join_words
from earnbook.ledger.due import DUE_AUTOMATION, DUE_FOLLOW
from earnbook.ledger.kernel import (
    DONE,
    MISS,
    OPERATE,
    PERIOD,
    RETRY_MISS,
    TICK,
    Rules,
    decide,
    finish_operation,
    propose_list,
)
from earnbook.ledger.merge import merged_systems
from earnbook.ledger.pool import StringPool
from earnbook.ledger.results import (
    Rows,
    asset_links,
    attempts,
    batch_tables,
    holder_statuses,
    outcomes,
    profiles,
    program_statuses,
    system_balances,
    touched_balances,
    work_of,
)
from earnbook.ledger.schedule import ALL_HOLDERS, TOO_MANY_GENERATED
from earnbook.ledger.schema import (
    BAIL,
    FX_COLUMNS,
    TIME_NONE,
    Bail,
    Columns,
    Int64s,
    Kind,
    RecordKind,
    StateType,
    Status,
    Tables,
)
from earnbook.ledger.state import Registers, State, text_of
from earnbook.ledger.state_load import begin_budget, budgets, checkpoint, scheduled
from earnbook.pipeline.automations import Automations, Scopes, loaded_automations
from earnbook.pipeline.batch_rows import BatchRows
from earnbook.pipeline.budgets import ENDED, next_reset
from earnbook.pipeline.columns import TextTables, batch_columns, event_of
from earnbook.pipeline.errors import IntegrityError, Refused
from earnbook.pipeline.evaluations import NO_PATTERN, Patterns
from earnbook.pipeline.generated import GeneratedEvents
from earnbook.pipeline.lifecycles import begin_period_end, start_periods
from earnbook.pipeline.operations import Operations
from earnbook.pipeline.partitions import RecordRows, decide_apart, new_patterns
from earnbook.pipeline.people import Named, People
from earnbook.pipeline.registry import Registry
from earnbook.pipeline.retries import name_of
from earnbook.pipeline.rows import (
    attempt_rows,
    change_rows,
    event_rows,
    holder_rows,
    in_log_order,
    lot_move_rows,
    lot_rows,
    member_rows,
    open_lot_rows,
    operation_rows,
    redemption_rows,
    reference_rows,
    result_rows,
    reversal_rows,
    schedule_rows,
    system_rows,
    table_of,
    tier_rows,
    window_rows,
)
from earnbook.pipeline.ruleset import RulesetLoad
from earnbook.pipeline.schema import BATCH_TABLES, STATE_TABLES
from earnbook.pipeline.subscriptions import Subscriptions
from earnbook.pipeline.targets import Targets
from earnbook.pipeline.templates import Template, template_rows
from earnbook.pipeline.terms import RunTerms
from earnbook.rules.compile import CompiledRuleset
from earnbook.rules.cron import next_cron_tick
from earnbook.rules.models_fields import is_uuid
from earnbook.rules.tiers import tier_value
from earnbook.rules.values import Timestamp, Value

_TEXT = int(Kind.TEXT)
_WIDE = int(Kind.WIDE)
_KEYED = {"counters": StateType.COUNTER, "tags": StateType.TAG, "attributes": StateType.ATTRIBUTE}
_EXACT = Context(prec=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What a batch decided: rows of `BATCH_TABLES` (without rejects), and what the header needs to know."""

    tables: Mapping[str, pa.Table]
    log_seqs: Int64s
    """The number of each record of the batch; those of generated events stand between them."""
    events: int
    operations: int
    generated: int
    completed: int
    failed: Mapping[int, int]
    """Failed records by outcome code."""
    late: int
    bailed: Mapping[Bail, int]
    """Events that the closures proposed for, by reason."""
    book_clock: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """What a batch wrote, as the books hold it; `pattern` of the outcomes is the book's number."""

    tables: Mapping[str, Rows]
    outcomes: Rows
    numbers: Int64s
    """The book's number of each pattern of the (first) State, the first item for none."""
    balances: Rows
    systems: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class _LockedTexts:
    """The run's text pool for threads that share it."""

    pool: StringPool
    lock: AbstractContextManager[bool]

    def text(self, code: int) -> str:
        """The text of a code."""
        with self.lock:
            return self.pool.text(code)

    def intern_text(self, text: str) -> int:
        """The code of a text, adding it if it is new."""
        with self.lock:
            return self.pool.intern_text(text)


def warm_up(run: RunTerms) -> None:
    """Compile the kernel, or load it from its cache, by deciding a batch without records."""
    state = State(run.terms, holders=0, rows=0)
    nothing = np.zeros(0, np.int64)
    state.begin_batch(work_of(program=nothing, base=nothing))
    columns = Columns(
        kind=np.zeros((0, 0), np.int8), value=np.zeros((0, 0), np.int64), scale=nothing, now=np.zeros(0, np.int64)
    )
    tables = Tables(offsets=nothing, results=np.zeros(0, np.uint8))
    proposes = propose_list([program.propose for program in run.programs])
    decide(state, columns, Rules(proposes=proposes, literals=run.literals, tables=tables))


def _nobody_to_load(_: int) -> None:
    """An engine without a book has no holders but those in its state."""


class Engine:
    """The books, rules and texts of one run; see the module."""

    def __init__(
        self,
        *,
        organization_id: str,
        run: RunTerms,
        ruleset: CompiledRuleset,
        registers: Registers,
        patterns: Patterns,
        pool: StringPool,
        records: int,
        total: int = 0,
        partitions: int = 1,
        load_persons: Callable[[Engine], None] = lambda _: None,
    ) -> None:
        """Empty books that continue at `registers`; `records` is how many a batch has at most, `total` the run.

        `load_persons` brings the holders among the persons that were named since the last time from the book.
        `partitions` is by how many threads batches are decided; more than one only where `why_one_pass` has no reason.
        """
        self.organization_id = organization_id
        self.run = run
        self.pool = pool
        self.people = People(organization_id)
        self.states = tuple(
            State(
                run.terms,
                registers,
                holders=min((total or records) // partitions, 1 << 20),
                rows=min(2 * records // partitions, 1 << 21),
                lots=min(max(records, total) * 3 // 2 // partitions, 1 << 24),
            )
            for _ in range(partitions)
        )
        self.state = self.states[0]
        self._has_periods = False
        self.homes: Int64s = np.zeros(0, np.int64)
        """The partition of every person."""
        self._lock = RLock()
        self._numbers: list[list[int]] = [[NO_PATTERN] for _ in range(partitions)]
        self.templates: tuple[Template, ...] = run.templates
        self.generated = GeneratedEvents([program.id for program in run.definitions], self.people)
        self.load_enrolled: Callable[[int], None] = _nobody_to_load
        """Brings every holder enrolled in a program (its slot) into the state; the shell sets it."""
        self._ruleset = ruleset
        self._tables = TextTables(ruleset.tables, pool)
        self._proposes = propose_list([program.propose for program in run.programs])
        self._patterns = patterns
        self.ended_budgets: dict[int, int] = {}
        """What budgets that are not in force had consumed, by number."""
        self.budget_terms: dict[int, tuple[int, int]] = {}
        """Limit and next reset (TIME_NONE: never) of budgets as the book has them, by number."""
        self._groups: Int64s | int = -1
        self._targets = Targets(
            run.programs,
            ruleset,
            state=self.state,
            people=self.people,
            pool=pool,
            load=lambda: load_persons(self),
        )
        self.automations = self._make_automations()
        self.operations = Operations(
            self.state, run, pool, self.people, self.generated, organization_id, automations=self.automations
        )
        if run.needs.has_redemptions:
            self._name_targets()

    def _name_targets(self) -> None:
        """The holders that redemptions go to become persons of the run, which are loaded like all others (§16.1)."""
        programs = self.state.table(at.PROGRAMS)
        for slot, program in enumerate(self.run.definitions):
            name = program.redemption_target_entity_id
            if programs[slot, at.PROGRAM_TARGET] == 0 and name is not None:
                texts = pa.array([name], pa.string())
                participants = self.people.name_participant_ids if is_uuid(name) else self.people.name_external_ids
                programs[slot, at.PROGRAM_TARGET_GROUP] = self.people.name_groups(texts)[0]
                programs[slot, at.PROGRAM_TARGET_PERSON] = participants(texts)[0]

    def _make_automations(self) -> Automations:
        """The automations of the run; whom they name becomes a person, who is loaded like all others."""
        named = {each.number: each.definition.participant_id for each in self.run.automations}
        given = {number: text for number, text in named.items() if text is not None}
        persons = self.people.name_participant_ids(pa.array(list(given.values()), pa.string()))
        return Automations(
            self.state,
            self.run.automations,
            Scopes(
                participant=lambda slot, program, now: self._participant(-1, slot, program, now),
                program=self._program,
                name=lambda slots: self.generated.name(self.state, slots),
                load_all=self._load_all,
            ),
            self.generated,
            subscriptions=Subscriptions(self.state, self.run.keys, self.pool),
            persons=dict(zip(given, persons.tolist(), strict=True)),
            retired=self.run.retired_automations,
        )

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """The event fields that rules read, in the order of the columns."""
        return tuple(column.path for column in self._ruleset.event_columns)

    def template_rows(self) -> pa.Table:
        """The rows of the templates, to stand behind the records of every batch."""
        return template_rows(self.templates, self.paths, self.pool)

    def execute(
        self,
        given: BatchRows,
        named: Named,
        *,
        batch: int,
        base: Int64s,
        until: int,
        sources: Int64s,
        generated_max: int,
    ) -> Decided:
        """Decide the records of one batch, whose holders are loaded.

        Args:
            given: the records in log order, without repeats, and the rows behind them.
            named: whom the rows name.
            batch: its number, for snapshots.
            base: c(r) of each record.
            until: due work up to here is done at the end; TIME_NONE for the book clock.
            sources: the book's number of each source of the run.
            generated_max: how many events the batch may generate (§17.5); Refused when it would be more.
        """
        columns = self._columns(given)
        records = given.records
        self._groups = self._targets.look_up_batch(columns, given.rows.column("program").to_numpy())
        money = self.operations.money
        work = work_of(
            program=np.maximum(given.rows.column("program").to_numpy(), 0),
            group=np.where(money.group >= 0, money.group, self._groups),
            base=np.concatenate([base, np.zeros(given.beyond, np.int64)]),
            person=named.participant,
            recipient=np.where(money.operand >= 0, money.operand, named.recipient),
            kind=given.rows.column("record_kind").to_numpy(),
            operation=given.rows.column("operation").to_numpy(),
            asset=money.asset,
            amount=money.amount,
            code=money.code,
        )
        if given.retried is not None:
            work[at.WORK_EVENT, : given.count] += given.retried
        self.generated.begin(given, self.templates)
        if len(self.states) > 1:
            written, bailed = self._decide_apart(work, records, columns, named.participant, base, until)
            return self._results(records, batch, sources, bailed, written)
        self.state.begin_batch(work, records=given.count, generated_max=generated_max)
        self.state.begin_operands(money.operands, money.parts)
        given.tell(self.state)
        self.operations.begin(records, named.participant)
        bailed = self._decide(given.rows, columns, named.participant, until)
        return self._results(records, batch, sources, bailed, self._written())

    def checkpoint(self) -> dict[str, pa.Table]:
        """The present state of all holders and programs of the run, as rows of `STATE_TABLES`."""
        parts = [self._checkpoint_of(state) for state in self.states]
        rows = {name: pa.concat_tables([part[name] for part in parts]) for name in parts[0]}
        rows["budgets"] = self._budget_rows()
        rows |= self._member_rows()
        if self.run.needs.has_redemptions:
            counts = self.operations.waiting.count_rows()
            rows["reward_counts"] = table_of("reward_counts", counts, STATE_TABLES["reward_counts"])
        rows["schedule"] = schedule_rows(scheduled(self.state))
        rows |= self.automations.state_rows()
        for name, found in (
            ("program_statuses", program_statuses(self.state)),
            ("asset_links", asset_links(self.state)),
        ):
            rows[name] = table_of(name, found, STATE_TABLES[name])
        systems = merged_systems(self.states, since_entry=0)
        rows["system_balances"] = system_rows(systems, STATE_TABLES["system_balances"])
        return rows

    def _checkpoint_of(self, state: State) -> dict[str, pa.Table]:
        tables = checkpoint(state, STATE_TABLES["open_lots"].names)
        for name, state_type in _KEYED.items():
            tables[name]["key"] = self.run.keys[state_type].numbers[tables[name]["key"]].astype(np.int32)
        attributes = tables["attributes"]
        texts = np.where(attributes["kind"] == _TEXT, attributes["value"], -1)
        plain = [name for name in tables if name not in ("counters", "attributes", "tiers", "open_lots")]
        rows = {name: table_of(name, tables[name], STATE_TABLES[name]) for name in plain}
        rows["counters"] = window_rows(tables["counters"])
        rows["attributes"] = table_of(
            "attributes",
            {**attributes, "value": np.where(texts < 0, attributes["value"], 0), "text": self.pool.texts(texts)},
            STATE_TABLES["attributes"],
        )
        rows["tiers"] = tier_rows(tables["tiers"])
        rows["open_lots"] = open_lot_rows(tables["open_lots"], self.pool)
        rows["holder_statuses"] = table_of("holder_statuses", holder_statuses(state), STATE_TABLES["holder_statuses"])
        return rows

    def _budget_rows(self) -> pa.Table:
        """Every budget that ever began: those in force as they are now, the others as they ended."""
        now = budgets(self.state)
        consumed = self.ended_budgets | dict(zip(now["budget"].tolist(), now["consumed"].tolist(), strict=True))
        numbers = sorted(consumed)
        amounts = np.array([consumed[number] for number in numbers], np.int64)
        return table_of(
            "budgets", {"budget": np.array(numbers, np.int32), "consumed": amounts}, STATE_TABLES["budgets"]
        )

    def _budget_terms(self, batch: int) -> pa.Table:
        """Limit and next reset of the budgets for which either is another one than the book has."""
        table = self.state.table(at.BUDGETS)[: len(self.run.terms.budgets)]
        new = {
            number: (limit, next_at)
            for number, limit, next_at in table[:, [at.BUDGET_NUMBER, at.BUDGET_LIMIT, at.BUDGET_NEXT]].tolist()
            if number > 0 and self.budget_terms.get(number) != (limit, next_at)
        }
        self.budget_terms |= new
        limits, times = [limit for limit, _ in new.values()], [at_us for _, at_us in new.values()]
        schema = BATCH_TABLES["budget_terms"]
        columns = {
            "batch": pa.array([batch] * len(new), pa.int64()),
            "budget": pa.array(list(new), pa.int32()),
            "limit_minor": pa.array(limits, pa.int64()),
            "next_reset_at": pa.array([None if at_us == TIME_NONE else at_us for at_us in times], pa.int64()),
        }
        return pa.table([columns[name] for name in schema.names], schema=schema)

    def has_budget_due(self, until: int) -> bool:
        """Whether a budget with anything consumed is reset at or before a time."""
        table = self.state.table(at.BUDGETS)[: len(self.run.terms.budgets)]
        next_at = table[:, at.BUDGET_NEXT]
        return bool(((table[:, at.BUDGET_CONSUMED] != 0) & (next_at != TIME_NONE) & (next_at <= until)).any())

    def begin_budgets(self, registry: Registry, at_us: int) -> None:
        """The budgets that a load brings begin, those it takes away end; `at_us` is P of its first record."""
        entry = self.state.registers.entry_seq
        for place, plan in enumerate(self.run.budgets):
            if plan.number == 0:
                number = registry.start_budget(plan.entry(started_at=at_us, started_entry=entry))
                if plan.schedule == ENDED:
                    self.ended_budgets[number] = 0
                    continue
                first = next_reset(plan.schedule, at_us, at_us)
                begin_budget(self.state, place, number=number, origin=at_us, next_reset_at=first)

    def start_periods(self, after: int) -> None:
        """The periods of tier types that run right after a time; for the first batch of the engine, once."""
        if not self._has_periods:
            start_periods(self.state, self.run.tiers, after)
            self._has_periods = True

    def begin_automations(self, registry: Registry, load: RulesetLoad, at_us: int) -> None:
        """The load changes automations as it says; `at_us` is P of its first record (§17.2)."""
        self.automations.load(loaded_automations(registry, load), at_us)

    def _member_rows(self) -> dict[str, pa.Table]:
        """Profiles and members, where the run has them at all."""
        if not self.run.terms.has_members:
            return {}
        texts = profiles(self.state)
        texts["text"] = self.pool.texts(texts["text"])
        return {
            "profiles": table_of("profiles", texts, STATE_TABLES["profiles"]),
            "members": member_rows(self.state.members),
        }

    def entities(self) -> pa.Array:
        """The numbers of everything the checkpoint speaks of: holders, and programs negated."""
        # Programs stand in every State, their state in the first alone.
        apart = [state.numbers[len(self.run.programs) :] for state in self.states[1:]]
        return pa.array(np.concatenate([self.state.numbers, *apart]), pa.int64())

    # --- deciding ---------------------------------------------------------------------------------------------------

    def _columns(self, given: BatchRows) -> Columns:
        """The columns of all rows; what the time of a generated event decides is left to the closures."""
        columns = batch_columns(given.rows, self._ruleset, self.pool)
        templates = slice(given.count, given.count + given.templates)
        for position, column in enumerate(self._ruleset.precomputed_columns, start=len(self._ruleset.event_columns)):
            if column.reads_now:
                columns.kind[position, templates] = _WIDE
        return columns

    def _decide(self, records: pa.Table, columns: Columns, persons: Int64s, until: int) -> Counter[Bail]:
        """Runs the kernel to the end of the batch; returns for how many events the closures proposed, by reason."""
        bailed: Counter[Bail] = Counter()
        rules = Rules(proposes=self._proposes, literals=self.run.literals, tables=self._tables.current())
        pool = _LockedTexts(self.pool, self._lock)
        while (code := decide(self.state, columns, rules, until=until, pool=pool)) != DONE:
            with self._lock:
                self._answer(code, records, columns, persons, bailed)
                rules = rules._replace(tables=self._tables.current())
        return bailed

    def _give_tick(self) -> None:
        """The next tick of the budget whose reset waits for it."""
        _, _, expression = self.run.budgets[self.state.register(at.R_TICK)].schedule.partition(" ")
        self.state.give_tick(next_cron_tick(expression, self.state.register(at.R_TICK_AFTER)))

    def _answer(self, code: int, records: pa.Table, columns: Columns, persons: Int64s, bailed: Counter[Bail]) -> None:
        """Give the kernel what it stopped for."""
        if code == BAIL:
            bailed[self.state.bail_reason] += 1
            self._propose_row(records, columns, persons)
        elif code == TICK:
            self._give_tick()
        elif code == PERIOD:
            begin_period_end(self.state, self.run)
        elif code == MISS:
            self._look_up_target()
        elif code == OPERATE:
            self._operate(columns)
        elif code == ALL_HOLDERS:
            self._load_all(records.column("program")[self.state.row].as_py())
        elif code == DUE_AUTOMATION:
            self.automations.do_due()
        elif code == DUE_FOLLOW:
            self.automations.follow()
        elif code == RETRY_MISS:
            self.state.set_event(self.generated.find(self.state, name_of(records, self.state.cursor)))
        else:
            raise _stop(code, self.state)

    def _load_all(self, program: int) -> None:
        """Every holder enrolled in a program (its slot), once a run."""
        if not self.state.table(at.PROGRAMS)[program, at.PROGRAM_LOADED]:
            self.load_enrolled(program)
            self.state.mark_loaded(program)

    def _decide_apart(
        self, work: Int64s, records: pa.Table, columns: Columns, persons: Int64s, base: Int64s, until: int
    ) -> tuple[_Written, Counter[Bail]]:
        """Decides the partitions of a batch by a thread each: an engine that shares all but its State."""

        def decide_share(partition: int, rows: RecordRows, own: Columns, named: Int64s, end: int) -> Counter[Bail]:
            engine = copy(self)
            engine.state = self.states[partition]
            return engine._decide(rows, own, named, end)

        start = self.state.registers.entry_seq
        merged, shares, bailed = decide_apart(
            self.states, self.homes, work, records, columns, persons, base=base, until=until, decide=decide_share
        )
        found = merged.outcomes["pattern"]
        known = [len(numbers) - 1 for numbers in self._numbers]
        new = {(k, pattern): self._patterns.number(self.states[k], pattern)
               for k, pattern in new_patterns(shares, known, found)}  # fmt: skip
        for k, share in enumerate(shares):
            own = sorted(pattern for state, pattern in new if state == k)
            self._numbers[k].extend(new[k, pattern] for pattern in own)
            found[share.records] = np.array(self._numbers[k])[found[share.records] + 1]
        systems = merged_systems(self.states, since_entry=start)
        written = _Written(
            tables=merged.tables,
            outcomes=merged.outcomes,
            numbers=np.array(self._numbers[0]),
            balances=merged.balances,
            systems=tuple(systems),
        )
        return written, sum(bailed, Counter())

    def _look_up_target(self) -> None:
        """Look up the target that the event at hand names and no column foretold."""
        kind, code = self.state.missing_target
        self._targets.look_up(kind, np.array([code]))

    def _operate(self, columns: Columns) -> None:
        """Carry out the operation at the cursor, and those that follow it."""
        while finish_operation(self.state, columns, self.operations.carry_out(self.state.cursor)) == OPERATE:
            pass

    def _propose_row(self, records: pa.Table, columns: Columns, persons: Int64s) -> None:
        """The closures propose for the event at hand."""
        state, row = self.state, self.state.row
        slot = records.column("program")[row].as_py()
        program = self.run.programs[slot]
        proposal = program.propose_row(
            event_of(records.column("event_data")[row].as_py()),
            self._participant(int(persons[row]), state.slot, slot, int(columns.now[row])),
            self._program(slot, int(columns.now[row])),
            int(columns.now[row]),
            state.clock,
            group=self._group(row, int(columns.now[row])),
        )
        effects = np.zeros((len(program.actions) + 1, FX_COLUMNS), np.int64)
        words = np.zeros(len(state.words), np.uint64)
        count = proposal.write(effects, words, program_slot=slot, code_of=self.pool.intern_text)
        state.give(effects[:count], words)

    def _participant(self, person: int, slot: int, program: int, now: int) -> dict[str, Value]:
        """The variable `participant` (§11.1) of an event of the program; a generated one names nobody but the slot.

        Without one (slot -1) it is an object without content.
        """
        if slot < 0:
            return {"tags": [], "counters": {}, "attributes": {}, "tiers": {}}
        if person < 0:
            external_id, participant_id = self.generated.participant(self.state, slot)
        else:
            origin = self.people.origins()[person]
            known = person if origin < 0 else int(origin)
            external_id, participant_id = self.people.participant_of(known)
        identity: dict[str, Value] = {
            "id": participant_id,
            "external_id": external_id,
            "status": Status(int(self.state.cells.status[slot])).name,
            "tiers": self._tiers_of(slot, program),
        }
        return identity | self._state_of(slot, now)

    def _tiers_of(self, slot: int, program: int) -> dict[str, Value]:
        """The levels of a participant in the tier types of a program; base has none."""
        cells, tiers = self.state.cells, dict[str, Value]()
        for column, tier in enumerate(self.run.tiers):
            position = int(cells.tier_level[slot, column])
            if tier.program == program and position > 0:
                acquired_at = Timestamp.from_microseconds(int(cells.tier_acquired_at[slot, column]))
                expires_at = int(cells.tier_expires_at[slot, column])
                ends = None if expires_at == TIME_NONE else Timestamp.from_microseconds(expires_at)
                tiers[tier.definition.key] = tier_value(tier.levels[position - 1], acquired_at, ends)
        return tiers

    def _program(self, slot: int, now: int) -> dict[str, Value]:
        """The variable `program` (§11.1)."""
        definition = self.run.definitions[slot]
        status = Status(int(self.state.cells.status[slot])).name
        identity: dict[str, Value] = {"id": definition.id, "key": definition.key, "status": status}
        return identity | self._state_of(slot, now)

    def _group(self, row: int, now: int) -> dict[str, Value] | None:
        """The variable `group` (§11.1), None where the event names no group that exists."""
        slot = self.state.group
        if slot < 0 or isinstance(self._groups, int):
            return None
        group_id, key = self.people.group_of(int(self._groups[row]))
        identity: dict[str, Value] = {"id": group_id, "key": key}
        return identity | {"status": Status(int(self.state.cells.status[slot])).name} | self._state_of(slot, now)

    def _state_of(self, slot: int, now: int) -> dict[str, Value]:
        """Tags, counters and attributes of an entity, as CEL sees them."""
        cells, keys = self.state.cells, self.run.keys
        tags = [
            text
            for bit, text in enumerate(keys[StateType.TAG].texts)
            if int(cells.tags[slot, bit >> 6]) >> (bit & 63) & 1
        ]
        counters: dict[str, Value] = {}
        for column, text in enumerate(keys[StateType.COUNTER].texts):
            scale = int(cells.counter_scale[slot, column])
            if scale < 0:
                continue
            mantissa = join_words(int(cells.counter_low[slot, column]), int(cells.counter_high[slot, column]))
            opened, length = cells.counter_reset_at[slot, column], cells.counter_reset_after[slot, column]
            elapsed = length != TIME_NONE and now - int(opened) >= int(length)
            counters[text] = Decimal(0) if elapsed else Decimal(mantissa).scaleb(-scale, _EXACT)
        attributes: dict[str, Value] = {}
        for column, text in enumerate(keys[StateType.ATTRIBUTE].texts):
            kind = int(cells.attribute_kind[slot, column])
            if kind:
                value, scale = int(cells.attribute_value[slot, column]), int(cells.attribute_scale[slot, column])
                attributes[text] = text_of(kind, value, scale, self.pool)
        return {"tags": sorted(tags), "counters": counters, "attributes": attributes}

    # --- rows -------------------------------------------------------------------------------------------------------

    def _written(self) -> _Written:
        """What the batch wrote in the one State."""
        state = self.state
        if self.operations.usage.is_wanted:
            self.operations.usage.note_batch()
        found = outcomes(state)
        numbers = self._patterns.numbers(state)
        found["pattern"] = numbers[found["pattern"] + 1]
        return _Written(
            tables=batch_tables(state),
            outcomes=found,
            numbers=numbers,
            balances=touched_balances(state),
            systems=tuple(system_balances(state, since_entry=state.register(at.R_BATCH_ENTRY))),
        )

    def _results(
        self, records: pa.Table, batch: int, sources: Int64s, bailed: Mapping[Bail, int], written: _Written
    ) -> Decided:
        state = self.state
        decided, found = written.tables, written.outcomes
        is_event = records.column("record_kind").to_numpy() == int(RecordKind.EVENT)
        further = attempts(state)
        further["pattern"] = written.numbers[further["pattern"] + 1]
        made = self.generated.rows(state, written.numbers)
        snapshots, systems = written.balances, list(written.systems)
        tables = {name: table_of(name, decided[name]) for name in ("movements", "due_entries", "due_changes")}
        tables |= {
            **lot_rows(decided["lots"], self.pool),
            "lot_moves": lot_move_rows(decided["lot_moves"], self.pool),
            "entry_references": reference_rows(decided["entry_references"], self.pool),
            **change_rows(decided["changes"], self.pool),
            "budget_terms": self._budget_terms(batch),
            **self.automations.batch_rows(batch),
            "redemptions": redemption_rows(decided["redemptions"], self.operations.waiting.catalog_columns),
            "reversals": reversal_rows(decided["reversals"]),
            "action_results": result_rows(decided["action_results"], self.pool),
            "holders": holder_rows(decided["holders"], self.people),
            "events": in_log_order(event_rows(records, found, is_event, sources), made["events"]),
            "generated_events": made["generated_events"],
            "attempts": attempt_rows(further),
            "operations": operation_rows(records, found, is_event, sources),
            "balance_snapshots": table_of("balance_snapshots", {"batch": batch, **snapshots}),
            "system_snapshots": system_rows(systems, BATCH_TABLES["system_snapshots"], batch=batch),
            "evaluation_patterns": self._patterns.take_rows(),
        }
        of_generated = made["events"].column("outcome").to_numpy()
        codes, counts = np.unique(np.concatenate([found["outcome"], of_generated]), return_counts=True)
        by_code = {int(code): int(count) for code, count in zip(codes, counts, strict=True)}
        failed = {code: count for code, count in by_code.items() if code > 1}
        return Decided(
            tables=tables,
            log_seqs=found["log_seq"],
            events=int(is_event.sum()),
            operations=int((~is_event).sum()),
            generated=len(of_generated),
            completed=records.num_rows + len(of_generated) - sum(failed.values()),
            failed=failed,
            late=int(found["late"].sum()),
            bailed=bailed,
            book_clock=state.clock,
        )


def _stop(code: int, state: State) -> Refused | IntegrityError:
    """Why a batch cannot be decided to its end."""
    if code == TOO_MANY_GENERATED:
        limit = state.register(at.R_GENERATED_MAX)
        return Refused(
            f"the batch would generate more than {limit:,} events",
            "Nothing of it was committed. Look for rules that make events without end, or allow more: --max-generated.",
        )
    return IntegrityError(
        "a maturing lot does not fit into its holder's balance",
        "The balance would exceed 2^63 minor units; take value out before the lot matures.",
    )
