"""The JSON Schema of definition files, for editors: completion and first mistakes while typing."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema

from earnbook.rules.definitions import MODELS
from earnbook.rules.definitions_nodes import SHORT_NAMES
from earnbook.rules.models import ACTION_MODELS, Asset, Budget, Organization, Program, Rule, Source, Target
from earnbook.rules.models_automations import TRIGGER_MODELS, Automation
from earnbook.rules.models_fields import Definition
from earnbook.rules.models_tiers import Level, Reward, TierType


class DefinitionFile(BaseModel):
    """One file of definitions; all files of a load together describe the organization (§6.1)."""

    model_config = ConfigDict(extra="forbid")

    organization: Organization | None = None
    assets: list[Asset] = Field(default_factory=list)
    programs: list[Program] = Field(default_factory=list)
    rules: list[Rule] = Field(default_factory=list)
    tiers: list[TierType] = Field(default_factory=list)
    rewards: list[Reward] = Field(default_factory=list)
    automations: list[Automation] = Field(default_factory=list)
    sources: dict[str, Source] = Field(default_factory=dict)


def definitions_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a definition file, with short names and the fields that are read over."""
    schema = DefinitionFile.model_json_schema(mode="validation")
    schema = {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "earnbook definitions"}
    models: tuple[type[Definition], ...] = (
        *MODELS.values(),
        *ACTION_MODELS.values(),
        *TRIGGER_MODELS,
        Budget,
        Level,
        Target,
        Source,
    )
    for model in models:
        definition = schema["$defs"].get(model.__name__)
        if definition is not None:
            _complete(definition, model)
    return schema


def _complete(definition: dict[str, Any], model: type[Definition]) -> None:
    """Say what models cannot: that a reference has a short name, and which fields of exported objects are ignored."""
    properties: dict[str, Any] = definition["properties"]
    for full, short in SHORT_NAMES.items():
        if full not in properties:
            continue
        properties[short] = dict(properties[full])
        required: list[str] = definition.get("required", [])
        if full in required:
            required.remove(full)
            definition["oneOf"] = [{"required": [full]}, {"required": [short]}]
    for name in ("id", "key", "order", "program_id"):
        # The defaults are marks of "not given", and no values that a file could state.
        properties.get(name, {}).pop("default", None)
    for name in sorted(model.ignored_fields - set(properties)):
        properties[name] = {"description": "ignored"}
