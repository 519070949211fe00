"""Worked examples of SEMANTICS, as data that every engine runs."""
