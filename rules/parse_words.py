"""The words of the grammar: operators with their precedence, macros, namespaces of functions, reserved words."""

from __future__ import annotations

PRECEDENCE = {
    "||": 1,
    "&&": 2,
    "==": 3,
    "!=": 3,
    "<": 3,
    "<=": 3,
    ">": 3,
    ">=": 3,
    "in": 3,
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
    "%": 5,
}
"""How tightly an operator binds; all are left-associative."""

NAMESPACES = frozenset(("math", "sets", "strings", "optional", "lists", "base64"))
"""Names before a dot that belong to the function's name, as in `math.greatest(a, b)`."""

MACROS: dict[str, tuple[tuple[int, int], ...]] = {
    "all": ((2, 1), (3, 2)),
    "exists": ((2, 1), (3, 2)),
    "exists_one": ((2, 1), (3, 2)),
    "existsOne": ((2, 1), (3, 2)),
    "filter": ((2, 1),),
    "map": ((2, 1), (3, 1)),
    "transformList": ((3, 2), (4, 2)),
    "transformMap": ((3, 2), (4, 2)),
    "transformMapEntry": ((3, 2), (4, 2)),
    "sortBy": ((2, 1),),
    "optMap": ((2, 1),),
    "optFlatMap": ((2, 1),),
}
"""Methods that bind variables: the forms of each as (number of arguments, of which variables)."""

# fmt: off
RESERVED = frozenset((
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "in", "let", "loop",
    "namespace", "package", "return", "var", "void", "while",
))
# fmt: on
"""Words that cannot name a variable."""
