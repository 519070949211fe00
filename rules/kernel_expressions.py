"""From syntax tree to the lines of a kernel function: the part of CEL that int64 arithmetic over columns can express.

`KernelWriter` walks a tree once and emits straight-line code with a few `if`s; each node becomes a value of
`kernel_values`. What it cannot express raises `Unsupported`: the smallest part around it that depends on the event
alone becomes a precomputed column; where state is involved the row is left to the closures (`return BAIL_…`), at the
point where the value would be needed. Semantics are those of §5 and §11.3; the closures are the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from earnbook.ledger.schema import Bail, Kind
from earnbook.rules.kernel_shapes import STARTS, chain, decimal_constant, integer_kind, parts, rebuilt
from earnbook.rules.kernel_tiers import tier_access, tier_has
from earnbook.rules.kernel_values import (
    Block,
    Bool,
    Code,
    Dyn,
    Failure,
    Length,
    LiteralList,
    Lowered,
    Null,
    Number,
    StatusOf,
    Text,
    Time,
    Unsupported,
)
from earnbook.rules.models_tiers import Level
from earnbook.rules.plan_columns import Inventory, PrecomputedColumn
from earnbook.rules.plan_reads import EventColumn, access_path, outermost_macros, reads_of, unparse
from earnbook.rules.syntax import Call, Expression, Has, Index, ListLiteral, Literal, Name, Node, Select, Span, Uint
from earnbook.rules.values import Duration, EvaluationError, Timestamp

ENTITIES = ("participant", "program", "group")
"""The variables whose state the kernel reads."""

DEPTH_MAX = 40
"""Nested blocks of generated code; Python itself stops at 100."""

NODES_MAX = 1_500
"""Nodes of an expression; a larger one is left to the closures, which have no compiler to wait for."""

_NO_EXPRESSION = Expression("", Literal(id=0, span=Span(0, 0), value=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that is not expressed by the kernel itself: what, how it is done instead, and why."""

    text: str
    instead: str
    why: str


def bail_name(reason: Bail) -> str:
    """The name of a reason in generated code."""
    return f"BAIL_{reason.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramFacts:
    """What is constant about the event's program."""

    id: str
    key: str
    tiers: Mapping[str, tuple[Level, ...]] = field(default_factory=dict)
    """Levels by ascending rank, by the key of their tier type."""


@dataclass(slots=True, kw_only=True)
class KernelWriter:
    """Writes one generated function of one program.

    `evaluate` gives the value of a constant expression, `calls` lowers the operators and functions by name.
    """

    inventory: Inventory
    literals: LiteralList
    program: ProgramFacts
    evaluate: Callable[[Expression], object]
    calls: Mapping[str, Callable[[KernelWriter, Call], Lowered]]
    code: Code = field(default_factory=Code)
    notes: list[Note] = field(default_factory=list)
    _expression: Expression = _NO_EXPRESSION
    _indivisible: bool = False

    def write(self, expression: Expression) -> Lowered:
        """Emit the code of a whole expression; raises Unsupported when no part of it can be left to a column."""
        self._expression = expression
        self._indivisible = outermost_macros(expression.root) > 1
        if self._indivisible:
            reason = Unsupported("several macros share one limit of elements")
            return self._precomputed(expression.root, reason)
        return self.lower(expression.root)

    def bail(self, text: str, reason: Unsupported) -> None:
        """Emit that the row is left to the closures here, and note why."""
        self.notes.append(Note(text=text, instead="closures, row by row", why=str(reason)))
        self.leave(Bail.NOT_IN_KERNEL)

    def leave(self, reason: Bail) -> None:
        """Emit that the row is left to the closures here."""
        self.code.emit(f"return {bail_name(reason)}")

    # --- nodes ---

    def lower(self, node: Node) -> Lowered:
        """The value of a node; what the kernel cannot express becomes a precomputed column where that is possible."""
        mark, length, depth = self.inventory.mark(), len(self.code.lines), self.code.depth
        notes = len(self.notes)
        try:
            if self.code.depth > DEPTH_MAX:
                raise Unsupported("it is nested too deeply")
            return self._lower_supported(node)
        except Unsupported as reason:
            self.inventory.rollback(mark)
            del self.code.lines[length:]
            del self.notes[notes:]
            self.code.depth = depth
            return self._precomputed(node, reason)

    def _lower_supported(self, node: Node) -> Lowered:
        match node:
            case Literal(value=value):
                return self.constant(value)
            case Name(name="now" | ".now"):
                return Time(self.code.cell("now", "record"), "False")
            case Has():
                return self._has(node)
            case Select() | Index():
                return self._access(node)
            case Call():
                return self._constant_call(node) if reads_of(node).constant else self._call(node)
            case Name(name=name):
                raise Unsupported(f"`{name}` is used as a whole")
            case ListLiteral():
                raise Unsupported("the kernel has no lists")
            case _:
                raise Unsupported("the kernel has no maps, macros or bindings")

    def constant(self, value: object) -> Lowered:
        """A constant as a value; raises Unsupported for types the kernel has not."""
        match value:
            case None:
                return Null()
            case bool():
                return Bool("1" if value else "0")
            case Uint():
                raise Unsupported("the kernel has no uint")
            case int() if -(2**63) < value < 2**63:
                return Number(str(value), "0", "False", True, value)
            case Decimal() if value.is_finite():
                return decimal_constant(value)
            case str():
                return Text(self.literals.name(self.code, "text", value), "False", value)
            case Timestamp(nanoseconds=nanoseconds) if nanoseconds % 1000 == 0:
                return Time(str(nanoseconds // 1000), "False")
            case Duration(nanoseconds=nanoseconds) if nanoseconds % 1000 == 0:
                return Length(str(nanoseconds // 1000), "False")
            case _:
                raise Unsupported(f"the kernel has no constant {value}")

    def _call(self, node: Call) -> Lowered:
        match node.function:
            case "_&&_" | "_||_":
                return self._junction(node)
            case "!_":
                return self._not(node)
            case "_?_:_":
                return self._choose(node)
            case name if name in self.calls:
                return self.calls[name](self, node)
            case name:
                raise Unsupported(f"{name} is not in the kernel")

    def _constant_call(self, node: Node) -> Lowered:
        try:
            return self.constant(self.evaluate(Expression(self._expression.text, node)))
        except EvaluationError:
            return Failure()

    def _precomputed(self, node: Node, reason: Unsupported) -> Lowered:
        reads = reads_of(node)
        if not reads.event_only or reads.constant or (self._indivisible and node is not self._expression.root):
            raise reason
        column = PrecomputedColumn(
            unparse(node),
            Expression(self._expression.text, node),
            reads=None if "event" in reads.whole else reads.event,
            reads_now=reads.now,
        )
        number = self.inventory.precomputed_column(column)
        self.notes.append(Note(text=column.text, instead="precomputed column", why=str(reason)))
        return self._load(f"P{number}", integer_kind(node))

    def _load(self, column: str, integer: bool | None) -> Dyn:
        code = self.code
        kind = code.assign("k", code.cell("kind", "record", column))
        value = code.assign("v", code.cell("value", "record", column))
        if integer is False:
            return Dyn(kind, value, code.cell("scale", column), False)
        if integer:
            return Dyn(kind, value, "0", True)
        scale = code.assign("s", f"{code.cell('scale', column)} if {kind} == {int(Kind.NUMBER)} else 0")
        return Dyn(kind, value, scale, None)

    # --- fields and state ---

    def event_field(self, path: tuple[str, ...]) -> Dyn:
        return self._load(f"E{self.inventory.event_column(EventColumn(path))}", False)

    def _access(self, node: Node) -> Lowered:
        root, path = access_path(node)
        match root, path:
            case "event", path if path:
                return self.event_field(path)
            case (("participant" | "program" | "group" as root), ("counters", key)):
                present, number = self.counter(root, key)
                return replace(number, error=self.code.assign("e", f"not {present}"))
            case (("participant" | "program" | "group" as root), ("attributes", key)):
                present, text = self.attribute(root, key)
                return replace(text, error=self.code.assign("e", f"not {present}"))
            case (("participant" | "program" | "group" as root), ("status",)):
                return self._status(root)
            case "participant", ("tiers", *rest) if rest:
                return tier_access(self, rest)
            case "program", ("key",):
                return self.constant(self.program.key)
            case "program", ("id",):
                return self.constant(self.program.id)
            case None, _:
                raise Unsupported("access to a computed value or by a computed key")
            case root, path:
                raise Unsupported(f"`{'.'.join((root or '', *path))}` is not in the kernel's state")

    def _slot(self, root: str) -> str:
        return "slot" if root == "participant" else f"{root}_slot"

    def _status(self, root: str) -> Lowered:
        slot = self._slot(root)
        status = self.code.assign("v", f"{self.code.cell('status', slot)} if {slot} >= 0 else 0")
        return StatusOf(status, self.code.assign("e", f"{slot} < 0"))

    def counter(self, root: str, key: str) -> tuple[str, Number]:
        """Whether the counter exists, and its value, which is 0 where it does not."""
        code, slot = self.code, self._slot(root)
        column = code.assign("c", self.literals.name(code, "counter", key))
        mantissa, scale, present = code.assign("m", "0"), code.assign("s", "0"), code.assign("h", "False")
        with code.nested(f"if {slot} >= 0 and {column} >= 0 and {code.cell('counter_scale', column, slot)} >= 0:"):
            code.emit(f"{present} = True")
            at, after = (code.cell(f"counter_reset_{name}", column, slot) for name in ("at", "after"))
            elapsed = f"_counter_is_elapsed({at}, {after}, {code.cell('now', 'record')})"
            with code.nested(f"if not {elapsed}:"):
                code.emit(f"{mantissa} = {code.cell('counter_low', column, slot)}")
                code.emit(f"{scale} = {code.cell('counter_scale', column, slot)}")
                with code.nested(f"if {code.cell('counter_high', column, slot)} != {mantissa} >> 63:"):
                    self.leave(Bail.WIDE_COUNTER)
        return present, Number(mantissa, scale, "False", False)

    def attribute(self, root: str, key: str) -> tuple[str, Text]:
        """Whether the attribute exists, and its text; one that is stored as another kind is left to the closures."""
        code, slot = self.code, self._slot(root)
        column = code.assign("c", self.literals.name(code, "attribute", key))
        text, present = code.assign("t", "-1"), code.assign("h", "False")
        kind = code.cell("attribute_kind", column, slot)
        absent = f"{kind} != {int(Kind.ABSENT)}"
        with code.nested(f"if {slot} >= 0 and {column} >= 0 and {absent}:"):
            with code.nested(f"if {kind} != {int(Kind.TEXT)}:"):
                self.leave(Bail.ODD_KIND)
            code.emit(f"{present} = True")
            code.emit(f"{text} = {code.cell('attribute_value', column, slot)}")
        return present, Text(text, "False")

    def tag(self, root: str, tag: str) -> Lowered:
        if tag != tag.lower():
            return Bool("0")
        code, slot = self.code, self._slot(root)
        bit = code.assign("c", self.literals.name(code, "tag", tag))
        result = code.assign("b", "0")
        with code.nested(f"if {slot} >= 0 and {bit} >= 0:"):
            code.emit(f"{result} = ({code.cell('tags', f'({bit} >> 6)', slot)} >> ({bit} & 63)) & 1")
        return Bool(result)

    def _has(self, node: Has) -> Lowered:
        root, path = access_path(node)
        match root, path:
            case "event", path if path:
                return self.event_has(path)
            case (("participant" | "program" | "group" as root), ("counters" | "attributes" as map_name, key)):
                return self.state_has(root, map_name, key)
            case "participant", ("tiers", *rest) if rest:
                return tier_has(self, rest)
            case _:
                raise Unsupported("has() of this is not in the kernel")

    def event_has(self, path: tuple[str, ...]) -> Lowered:
        found = f"1 if {self.event_field(path).kind} != {int(Kind.ABSENT)} else 0"
        if len(path) > 1:
            outer = self.event_field(path[:-1])
            found = f"2 if {outer.kind} != {int(Kind.MAP)} else ({found})"
        return Bool(self.code.assign("b", found))

    def state_has(self, root: str, map_name: str, key: str) -> Lowered:
        code, slot = self.code, self._slot(root)
        if map_name == "counters":
            column = code.assign("c", self.literals.name(code, "counter", key))
            there = f"{code.cell('counter_scale', column, slot)} >= 0"
        else:
            column = code.assign("c", self.literals.name(code, "attribute", key))
            there = f"{code.cell('attribute_kind', column, slot)} != {int(Kind.ABSENT)}"
        return Bool(code.assign("b", f"1 if {slot} >= 0 and {column} >= 0 and {there} else 0"))

    # --- booleans ---

    def boolean(self, value: Lowered) -> str:
        """The value as 0, 1 or 2; anything but a boolean is an error."""
        match value:
            case Bool(code=name):
                return name
            case Dyn(kind=kind, value=number):
                self.bail_if_wide(kind)
                return self.code.assign("b", f"{number} if {kind} == {int(Kind.BOOL)} else 2")
            case _:
                return "2"

    def bail_if(self, condition: str, reason: Bail) -> None:
        """Emit that the row is left to the closures where a condition holds."""
        with self.code.nested(f"if {condition}:"):
            self.leave(reason)

    def bail_if_wide(self, kind: str) -> None:
        """Emit that the row is left to the closures where a column cannot hold the value."""
        self.bail_if(f"{kind} == {int(Kind.WIDE)}", Bail.WIDE_VALUE)

    def _junction(self, node: Call) -> Lowered:
        """`&&` and `||` over all operands of a chain: the deciding value wins over errors, errors over the neutral one.

        The order of evaluation cannot be seen, so operands that need the closures come last: most rows never get there.
        """
        decisive = "0" if node.function == "_&&_" else "1"
        lowered: list[tuple[Block, str]] = []
        unsupported: list[tuple[Node, Unsupported]] = []
        for operand in chain(node, node.function):
            try:
                with self.code.captured() as block:
                    result = self.boolean(self.lower(operand))
                lowered.append((block, result))
            except Unsupported as reason:
                unsupported.append((operand, reason))
        if not lowered:
            raise unsupported[0][1]
        total = self.code.assign("b", "1" if decisive == "0" else "0")
        for number, (block, result) in enumerate(lowered):
            if number == 0:
                self._decide(block, result, total, decisive)
                continue
            with self.code.nested(f"if {total} != {decisive}:"):
                self._decide(block, result, total, decisive)
        if unsupported:
            with self.code.nested(f"if {total} != {decisive}:"):
                operand, why = unsupported[0]
                self.bail(unparse(operand), why)
        return Bool(total)

    def _decide(self, block: Block, result: str, total: str, decisive: str) -> None:
        self.code.insert(block)
        with self.code.nested(f"if {result} == {decisive}:"):
            self.code.emit(f"{total} = {decisive}")
        with self.code.nested(f"elif {result} == 2:"):
            self.code.emit(f"{total} = 2")

    def _not(self, node: Call) -> Lowered:
        result = self.boolean(self.lower(node.arguments[0]))
        return Bool(self.code.assign("b", f"2 if {result} == 2 else 1 - {result}"))

    def _choose(self, node: Call) -> Lowered:
        """`c ? a : b`: only the chosen branch is evaluated; a branch that needs the closures bails out there."""
        condition = self.boolean(self.lower(node.arguments[0]))
        branches: list[tuple[Block, Lowered | None]] = []
        unsupported: list[Unsupported] = []
        for branch in node.arguments[1:]:
            value: Lowered | None = None
            with self.code.captured() as block:
                try:
                    value = self.lower(branch)
                except Unsupported as reason:
                    unsupported.append(reason)
                    self.bail(unparse(branch), reason)
            branches.append((block, value))
        known = [value for _, value in branches if value is not None]
        if not known:
            raise unsupported[0]
        return self._join(condition, branches, known)

    def _join(self, condition: str, branches: list[tuple[Block, Lowered | None]], known: list[Lowered]) -> Lowered:
        """One value of two branches; branches of different types become a Dyn, no branch an error."""
        code = self.code
        shape = type(known[0])
        alike = shape in STARTS and all(type(value) is shape for value in known)
        targets = [code.assign("j", start) for start in STARTS[shape if alike else Dyn]]
        headers = (f"if {condition} == 1:", f"elif {condition} == 0:")
        for header, (block, value) in zip(headers, branches, strict=True):
            with code.nested(header):
                code.insert(block)
                if value is None:
                    continue
                for target, name in zip(targets, parts(value if alike else self.dynamic(value)), strict=True):
                    code.emit(f"{target} = {name}")
        return rebuilt(shape if alike else Dyn, targets, known)

    def dynamic(self, value: Lowered) -> Dyn:
        """Any value with its kind beside it."""
        match value:
            case Dyn():
                return value
            case Bool(code=name):
                kind = self.code.assign("k", f"{int(Kind.BOOL)} if {name} < 2 else {int(Kind.ERROR)}")
                return Dyn(kind, name, "0", False)
            case Number(mantissa=mantissa, scale=scale, error=error, integer=integer):
                kind = self._kind(Kind.INT if integer else Kind.NUMBER, error)
                return Dyn(kind, mantissa, scale, integer)
            case Text(code=name, error=error):
                return Dyn(self._kind(Kind.TEXT, error), name, "0", False)
            case Time(microseconds=name, error=error):
                return Dyn(self._kind(Kind.TIMESTAMP, error), name, "0", False)
            case Null():
                return Dyn(str(int(Kind.NULL)), "0", "0", False)
            case Failure():
                return Dyn(str(int(Kind.ERROR)), "0", "0", False)
            case _:
                raise Unsupported("the branches of `?:` have types that the kernel cannot mix")

    def _kind(self, kind: Kind, error: str) -> str:
        return self.code.assign("k", f"{int(Kind.ERROR)} if {error} else {int(kind)}")
