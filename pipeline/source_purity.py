"""Is a mapping's SQL a pure query of `input`? Decided on DuckDB's own syntax tree, not on the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import TypeAlias

import duckdb

Tree: TypeAlias = "dict[str, Tree] | list[Tree] | str | int | float | bool | None"

INPUT_TABLE = "input"
"""The one table a mapping may read."""

TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})
"""Table functions whose rows follow from their arguments alone."""

_SESSION_NAMES = frozenset(
    {
        "current_catalog", "current_date", "current_role", "current_time", "current_timestamp", "current_user",
        "localtime", "localtimestamp", "session_user", "user",
    }
)  # fmt: skip
"""Names that SQL resolves as functions where no column has them."""


def find_impurity(select: str) -> str | None:
    """Why a query is not one pure SELECT over `input`, or None."""
    with duckdb.connect(":memory:") as connection:
        row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [select]).fetchone()
    tree = json.loads(row[0]) if row else {}
    if tree["error"]:
        return f"the SQL cannot be read: {tree['error_message']}"
    if len(tree["statements"]) != 1:
        return "the SQL has more than one statement"
    return next(_impurities(tree["statements"][0], frozenset({INPUT_TABLE})), None)


def _impurities(tree: Tree, tables: frozenset[str]) -> Iterator[str]:
    """Everything impure under a node; `tables` are the names that may be read there."""
    if isinstance(tree, list):
        for item in tree:
            yield from _impurities(item, tables)
    if not isinstance(tree, dict):
        return
    tables = tables | _cte_names(tree)
    yield from _own_impurities(tree, tables)
    for child in tree.values():
        yield from _impurities(child, tables)


def _cte_names(tree: dict[str, Tree]) -> frozenset[str]:
    ctes = tree.get("cte_map")
    entries = ctes.get("map") if isinstance(ctes, dict) else None
    if not isinstance(entries, list):
        return frozenset()
    return frozenset(str(entry["key"]).lower() for entry in entries if isinstance(entry, dict))


def _own_impurities(tree: dict[str, Tree], tables: frozenset[str]) -> Iterator[str]:
    match tree.get("type"):
        case "BASE_TABLE":
            name = str(tree.get("table_name")).lower()
            if name not in tables or tree.get("schema_name") or tree.get("catalog_name"):
                yield f"it reads {tree.get('table_name')!r}, but only `input` may be read"
        case "TABLE_FUNCTION":
            function = tree.get("function")
            name = str(function.get("function_name")).lower() if isinstance(function, dict) else ""
            if name not in TABLE_FUNCTIONS:
                yield f"it reads from the table function {name}(), but only `input` may be read"
        case "COLUMN_REF":
            names = tree.get("column_names")
            if isinstance(names, list) and len(names) == 1 and str(names[0]).lower() in _SESSION_NAMES:
                yield f"{names[0]} differs from run to run"
    if tree.get("class") == "FUNCTION":
        name = str(tree.get("function_name")).lower()
        arguments = tree.get("arguments")
        # age(t) alone counts from today.
        is_age = name == "age" and isinstance(arguments, list) and len(arguments) == 1
        if name in _impure_functions() or is_age:
            yield f"{name}() differs from run to run or machine to machine"
    if tree.get("sample") is not None:
        yield "it takes a random sample"


@cache
def _impure_functions() -> frozenset[str]:
    """Functions that DuckDB calls consistent in none of their forms, or volatile in one, and macros that use them.

    Functions that are consistent in some forms (`+`, `year`, `strftime`) depend on the session's time zone in the
    others, and that is always UTC.
    """
    with duckdb.connect(":memory:") as connection:
        rows = connection.execute(
            "SELECT DISTINCT lower(function_name), stability, lower(macro_definition) FROM duckdb_functions() "
            "WHERE function_type IN ('scalar', 'aggregate', 'window', 'macro')"
        ).fetchall()
    consistent = {name for name, stability, _ in rows if stability == "CONSISTENT"}
    volatile = {name for name, stability, _ in rows if stability == "VOLATILE"}
    # error() is called volatile only so that it is not folded away.
    impure = ({name for name, stability, _ in rows if stability is not None} - consistent | volatile) - {"error"}
    impure |= _SESSION_NAMES | {"getenv", "version"}
    macros = {name: set(re.findall(r"\w+", body)) for name, _, body in rows if body}
    while more := {name for name, words in macros.items() if words & impure} - impure:
        impure |= more
    return frozenset(impure)
