"""Deterministic ids of definitions (§2.3): UUIDv5 of the owner's id and "kind:natural key"."""

from __future__ import annotations

from uuid import NAMESPACE_DNS, UUID, uuid5

ROOT = uuid5(NAMESPACE_DNS, "earnbook")
"""The namespace of organizations."""


def organization_id(key: str) -> str:
    """The id of the organization with this key."""
    return str(uuid5(ROOT, f"organization:{key}"))


def object_id(owner: str, kind: str, key: str) -> str:
    """The id of an object: `owner` is the id of its organization or program, `kind` the word of §2.3 (rule, tier …)."""
    return str(uuid5(UUID(owner), f"{kind}:{key}"))
