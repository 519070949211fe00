"""Gradual type checking of expressions: what can only fail is an issue before any data is read (§11.3).

Types are known for literals, state (`participant`, `program`, `group`, `now`), results of functions, and the event
fields that the program's `event_schema` declares; other event fields are `dyn`, which goes with everything. All
mistakes of an expression are reported at once, each at its part of the text; what follows from a mistake is not
reported again. The inferred types stay available by node for the planner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal as OneOf

from earnbook.rules import check_mistakes, functions
from earnbook.rules.check_objects import BUILT_IN_OBJECTS, ObjectType, as_map, is_event_object
from earnbook.rules.check_signatures import applied, sole_result
from earnbook.rules.event_schema import EventSchema
from earnbook.rules.issues import Issue
from earnbook.rules.syntax import (
    Bind,
    Call,
    Comprehension,
    Expression,
    Has,
    Index,
    ListLiteral,
    Literal,
    MapLiteral,
    Name,
    Node,
    Select,
)
from earnbook.rules.syntax_walk import is_bound, qualified_name
from earnbook.rules.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    FREE,
    INT,
    NULL,
    NUMBER,
    NUMBERS,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    compatible,
    join,
    list_of,
    map_of,
    optional_of,
    type_of_type,
)
from earnbook.rules.values import TYPE_VALUES, spoken_name, spoken_type

Result = OneOf["bool", "number", "text", "any"]
"""What the place of an expression expects: a condition, an amount, a text, or anything."""

_RULE_VARIABLES = {
    "event": map_of(STRING, DYN),
    "participant": Type("participant"),
    "program": Type("program"),
    "now": TIMESTAMP,
}

_EXPECTED = {"bool": BOOL, "number": NUMBER, "text": STRING, "any": DYN}

_SETS = frozenset(("sets.contains", "sets.intersects", "sets.equivalent"))

_PARAMETERS = {"list": 1, "map": 2, "optional": 1, "type": 1}

_SPOKEN_TYPES = {
    "null": NULL,
    "bool": BOOL,
    "int": INT,
    "uint": UINT,
    "double": DOUBLE,
    "string": STRING,
    "bytes": BYTES,
}


@dataclass(frozen=True, slots=True)
class Environment:
    """Which variables exist, with their types, what the expression must result in, and the objects that types name."""

    variables: Mapping[str, Type]
    result: Result = "any"
    objects: Mapping[str, ObjectType] = field(default_factory=lambda: BUILT_IN_OBJECTS)
    functions: Mapping[tuple[str, bool], functions.Function] = field(default_factory=dict)

    @classmethod
    def for_rule(cls, result: Result, *, has_group: bool = False, schema: EventSchema | None = None) -> Environment:
        """Conditions and action expressions.

        `has_group` when the program has a `group_field` (§11.1); `schema` what the program says about its events.
        """
        group = {"group": Type("group")} if has_group else {}
        if schema is None:
            return cls({**_RULE_VARIABLES, **group}, result)
        variables = {**_RULE_VARIABLES, **group, "event": schema.type}
        return cls(variables, result, {**BUILT_IN_OBJECTS, **schema.objects})

    @classmethod
    def for_filter(cls) -> Environment:
        """Participant filters and guards of automations: participant, program and now, giving a bool (§17.2)."""
        return cls({name: type_ for name, type_ in _RULE_VARIABLES.items() if name != "event"}, "bool")


@dataclass(frozen=True, slots=True)
class CheckedExpression:
    """An expression with the type of each node by id, and everything that is wrong with it."""

    expression: Expression
    types: Mapping[int, Type]
    issues: tuple[Issue, ...]

    @property
    def type(self) -> Type:
        """The type of the whole."""
        return self.types[self.expression.root.id]


def check_expression(expression: Expression, environment: Environment) -> list[Issue]:
    """All issues of an expression, errors and warnings, in the order of its text; without file and line."""
    return list(infer_types(expression, environment).issues)


def infer_types(expression: Expression, environment: Environment) -> CheckedExpression:
    """The checked form of an expression: types of all nodes, and all issues in the order of the text."""
    checker = _Checker(expression, environment)
    found = checker.infer(expression.root, {})
    expected = _EXPECTED[environment.result]
    if not compatible(expected, found):
        checker.report(check_mistakes.wrong_result(expression, environment.result, found))
    issues = sorted(checker.issues, key=lambda issue: (issue.span.start if issue.span else 0, issue.code.value))
    return CheckedExpression(expression, checker.types, tuple(issues))


_Names = Mapping[str, Type]
"""Types of the variables that macros bind here."""


class _Checker:
    """The state of checking one expression."""

    def __init__(self, expression: Expression, environment: Environment) -> None:
        self._text = expression.text
        self._variables = environment.variables
        self._functions = environment.functions
        self._objects = environment.objects
        self.types: dict[int, Type] = {}
        self.issues: list[Issue] = []

    def report(self, issue: Issue) -> None:
        self.issues.append(issue)

    def infer(self, node: Node, names: _Names) -> Type:
        found = self._infer(node, names)
        self.types[node.id] = found
        return found

    def _infer(self, node: Node, names: _Names) -> Type:
        match node:
            case Literal():
                return _SPOKEN_TYPES[spoken_type(node.value)]
            case Name():
                return self._name(node, names)
            case Select():
                return self._select(node, names)
            case Has():
                self._field(node, self.infer(node.operand, names), node.field)
                return BOOL
            case Index():
                return self._index(node, names)
            case Call():
                return self._call(node, names)
            case ListLiteral():
                return self._list(node, names)
            case MapLiteral():
                return self._map(node, names)
            case Comprehension():
                return self._comprehension(node, names)
            case Bind():
                return self.infer(node.body, {**names, node.name: self.infer(node.value, names)})
            case _:
                raise TypeError(f"unknown node {type(node).__name__}")

    # Names and fields

    def _name(self, node: Name, names: _Names) -> Type:
        if node.name in names:
            return names[node.name]
        name = node.name.removeprefix(".")
        if name in self._variables:
            return self._variables[name]
        if name in TYPE_VALUES:
            return _type_named(name)
        known = [*self._variables, *names]
        self.report(check_mistakes.unknown_variable(self._text, node.span, name, known))
        return DYN

    def _select(self, node: Select, names: _Names) -> Type:
        path = qualified_name(node)
        if path is not None and not is_bound(node, names):
            if path in self._variables:
                return self._variables[path]
            if path in TYPE_VALUES and path.partition(".")[0] not in self._variables:
                return _type_named(path)
        operand = self.infer(node.operand, names)
        found = self._field(node, operand, node.field)
        return _optional(found) if node.optional or operand.kind == "optional" else found

    def _field(self, node: Select | Has, operand: Type, field: str) -> Type:
        """The type of a field of an operand; an issue when it has no such field or no fields at all."""
        if operand.kind == "optional":
            return self._field(node, operand.parameters[0], field)
        if operand.kind in self._objects:
            return self._object_field(node, operand, field)
        if operand.kind == "map":
            return operand.parameters[1]
        if not operand.is_dynamic:
            self.report(check_mistakes.no_fields(self._text, node, operand))
        return DYN

    def _index(self, node: Index, names: _Names) -> Type:
        operand, key = self.infer(node.operand, names), self.infer(node.index, names)
        inner = operand.parameters[0] if operand.kind == "optional" else operand
        found = self._element(node, inner, key)
        return _optional(found) if node.optional or operand.kind == "optional" else found

    def _element(self, node: Index, operand: Type, key: Type) -> Type:
        entries = as_map(operand)
        if entries is not None and compatible(entries.parameters[0], key):
            if operand.kind in self._objects and isinstance(node.index, Literal):
                return self._object_field(node, operand, str(node.index.value))
            return entries.parameters[1]
        if operand.kind == "list" and compatible(NUMBER, key):
            return operand.parameters[0]
        if not operand.is_dynamic:
            self.report(check_mistakes.wrong_index(self._text, node, operand, key))
        return DYN

    def _object_field(self, node: Select | Has | Index | Literal, operand: Type, field: str) -> Type:
        """The type of a field of an object with known fields; an issue when there is no such field."""
        known = self._objects[operand.kind]
        if field in known.fields:
            return known.fields[field]
        if known.additional is None:
            self.report(check_mistakes.unknown_field(self._text, node, operand.kind, field, known.fields))
            return DYN
        if not known.is_open_stated:
            warning = check_mistakes.misspelt_field(self._text, node, operand.kind, field, known.fields)
            if warning is not None:
                self.report(warning)
        return known.additional

    # Literals of lists and maps

    def _list(self, node: ListLiteral, names: _Names) -> Type:
        types = [self.infer(item, names) for item in node.items]
        items = [_present(type_) if at in node.optional_indices else type_ for at, type_ in enumerate(types)]
        return list_of(_joined(items))

    def _map(self, node: MapLiteral, names: _Names) -> Type:
        keys: list[Type] = []
        values: list[Type] = []
        for at, (key, value) in enumerate(node.entries):
            keys.append(self.infer(key, names))
            found = self.infer(value, names)
            values.append(_present(found) if at in node.optional_indices else found)
            if not any(compatible(kind, keys[-1]) for kind in (STRING, INT, UINT, BOOL)) or keys[-1] == DOUBLE:
                self.report(check_mistakes.wrong_key(self._text, key.span, keys[-1]))
        return map_of(_joined(keys), _joined(values))

    # Calls

    def _call(self, node: Call, names: _Names) -> Type:
        if node.function in ("_&&_", "_||_", "!_"):
            for argument in node.arguments:
                self._condition(argument, names)
            return BOOL
        if node.function == "_?_:_":
            self._condition(node.arguments[0], names)
            return join(*(self.infer(branch, names) for branch in node.arguments[1:]))
        is_method = node.target is not None
        declared = self._functions.get((node.function, is_method))
        entry = declared or functions.function(node.function, is_method=is_method)
        if entry is None:
            self.report(check_mistakes.unknown_function(self._text, node))
            # A misspelt macro: its variable is not a mistake of its own.
            names = {**names, **{part.name: DYN for part in node.arguments[:-1] if isinstance(part, Name)}}
        target = [] if node.target is None else [self.infer(node.target, names)]
        given = [*target, *(self.infer(argument, names) for argument in node.arguments)]
        if entry is None:
            return DYN
        if len(node.arguments) not in entry.counts:
            self.report(check_mistakes.wrong_count(self._text, node, entry))
            return DYN
        results = [result for signature in entry.signatures if (result := applied(signature, given)) is not None]
        if not results:
            self.report(check_mistakes.no_overload(self._text, node, entry, given))
            return sole_result(entry, len(node.arguments))
        self._examine(node, given)
        return _joined(results)

    def _condition(self, node: Node, names: _Names) -> None:
        found = self.infer(node, names)
        if not compatible(BOOL, found):
            self.report(check_mistakes.not_a_condition(self._text, node.span, found))

    def _examine(self, node: Call, given: list[Type]) -> None:
        """Calls whose types are right and which still cannot be meant."""
        if node.function in ("_==_", "_!=_", "@in"):
            self._compare(node, given)
        self._examine_key(node, given)
        if node.function in _SETS:
            for issue in self._tags_warnings(*node.arguments):
                self.report(issue)
        for issue in check_mistakes.literal_mistakes(self._text, node):
            self.report(issue)

    def _examine_key(self, node: Call, given: list[Type]) -> None:
        """`get(event, 'field', default)` and `'field' in event` name a field as a selection does."""
        owner, key = {"get": (0, 1), "@in": (1, 0)}.get(node.function, (None, None))
        if owner is None or key is None or not is_event_object(given[owner]):
            return
        named = node.arguments[key]
        if isinstance(named, Literal) and isinstance(named.value, str):
            self._object_field(named, given[owner], named.value)

    def _compare(self, node: Call, given: list[Type]) -> None:
        left, right = given
        if node.function == "@in":
            inner = as_map(right) or right
            right = inner.parameters[0] if inner.parameters and inner.parameters[0] != NUMBER else DYN
            for issue in self._tag_warnings(*node.arguments):
                self.report(issue)
        numbers = left in NUMBERS and right in NUMBERS
        if not numbers and NULL not in (left, right) and not _may_be_equal(left, right):
            self.report(check_mistakes.never_equal(self._text, node, left, right))

    def _tags_warnings(self, container: Node, part: Node) -> Iterable[Issue]:
        """Upper-case texts of a list that is held against tags as a set."""
        for item in part.items if isinstance(part, ListLiteral) else ():
            yield from self._tag_warnings(item, container)

    def _tag_warnings(self, item: Node, container: Node) -> Iterable[Issue]:
        if not (isinstance(container, Select) and container.field == "tags" and isinstance(item, Literal)):
            return
        owner = self.types.get(container.operand.id, DYN)
        if owner.kind in BUILT_IN_OBJECTS and isinstance(item.value, str) and item.value != item.value.lower():
            yield check_mistakes.upper_case_tag(self._text, item.span, item.value)

    # Macros

    def _comprehension(self, node: Comprehension, names: _Names) -> Type:
        range_ = self.infer(node.range, names)
        if node.macro in ("optMap", "optFlatMap"):
            return self._optional_map(node, range_, names)
        visited = as_map(range_) or range_
        if visited.kind not in ("list", "map") and not visited.is_dynamic:
            self.report(check_mistakes.wrong_range(self._text, node, range_))
        key, value = _visited_types(visited)
        bound = (key, value) if len(node.variables) == 2 else (key if visited.kind == "map" else value,)
        inner = {**names, **dict(zip(node.variables, bound, strict=True))}
        self._condition(node.body, inner)
        made = self.infer(node.transform, inner) if node.transform is not None else bound[0]
        match node.macro:
            case "all" | "exists" | "exists_one":
                return BOOL
            case "transformMap":
                return map_of(key, made)
            case "sortBy":
                return list_of(bound[0])
            case "transformMapEntry":
                return made if made.kind == "map" else map_of(DYN, DYN)
            case _:
                return list_of(made)

    def _optional_map(self, node: Comprehension, operand: Type, names: _Names) -> Type:
        if operand.kind != "optional" and not operand.is_dynamic:
            self.report(check_mistakes.wrong_range(self._text, node, operand))
        inner = {**names, node.variables[0]: _present(operand)}
        made = self.infer(node.body, inner)
        return _optional(made)


def _type_named(name: str) -> Type:
    """The type of the name of a type: `int` is a `type(int)`."""
    kind = spoken_name(name)
    return type_of_type(Type(kind, tuple(DYN for _ in range(_PARAMETERS.get(kind, 0)))))


def _visited_types(visited: Type) -> tuple[Type, Type]:
    """What a macro with two variables binds."""
    if visited.kind == "map":
        return visited.parameters[0], visited.parameters[1]
    return (INT, visited.parameters[0]) if visited.kind == "list" else (DYN, DYN)


def _may_be_equal(left: Type, right: Type) -> bool:
    """Whether values of the two types can be equal at all; numbers of any kind can."""
    if left in NUMBERS and right in NUMBERS:
        return True
    if left.is_dynamic or right.is_dynamic:
        return True
    # Lists and maps may be equal whatever they hold, because they may be empty.
    return (as_map(left) or left).kind == (as_map(right) or right).kind


def _joined(types: Iterable[Type]) -> Type:
    found: Type | None = None
    for type_ in types:
        found = type_ if found is None else join(found, type_)
    return FREE if found is None else found


def _optional(type_: Type) -> Type:
    return type_ if type_.kind == "optional" else optional_of(type_)


def _present(type_: Type) -> Type:
    return type_.parameters[0] if type_.kind == "optional" else type_
