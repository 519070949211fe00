"""Mistakes of one object (A.5): code, message, place, path and remedy."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from earnbook.rules.issues import IssueCode, render_issue
from tests.support.definition_files import CREDIT, FIRST, HEAD, action, check, rule

CASES = {
    "unknown field": (
        "rules:\n  - {key: base, name: Base, condition: 'true', actons: [], actions: [" + CREDIT + "]}\n",
        IssueCode.UNKNOWN_FIELD,
        "there is no field `actons`",
        "rules[base].actons",
        "did you mean `actions`?",
    ),
    "unknown field of an action": (
        action("{type: CREDIT, asset: PTS, amout: 5, amount: 5}"),
        IssueCode.UNKNOWN_FIELD,
        "there is no field `amout`",
        "rules[base].actions[0].amout",
        "did you mean `amount`?",
    ),
    "missing field": (
        rule(f"actions: [{CREDIT}]"),
        IssueCode.MISSING_FIELD,
        "`condition` is missing",
        "rules[base]",
        "add condition",
    ),
    "null is missing": (
        rule(f"condition: null, actions: [{CREDIT}]"),
        IssueCode.MISSING_FIELD,
        "`condition` is missing",
        "rules[base]",
        "add condition",
    ),
    "action without type": (
        action("{asset: PTS, amount: 5}"),
        IssueCode.MISSING_FIELD,
        "`type` is missing",
        "rules[base].actions[0]",
        "add type",
    ),
    "unknown action type": (
        action("{type: CREDITS, asset: PTS, amount: 5}"),
        IssueCode.INVALID_VALUE,
        "there is no type `CREDITS`",
        "rules[base].actions[0].type",
        "did you mean `CREDIT`?",
    ),
    "no actions": (
        rule("condition: 'true', actions: []"),
        IssueCode.INVALID_VALUE,
        "the list is empty",
        "rules[base].actions",
        "add at least one item",
    ),
    "bad choice": (
        rule(f"condition: 'true', status: active, actions: [{CREDIT}]"),
        IssueCode.INVALID_VALUE,
        "'active' is not allowed here",
        "rules[base].status",
        "did you mean `ACTIVE`?",
    ),
    "yes is text": (
        rule(f"condition: 'true', stop_after_match: yes, actions: [{CREDIT}]"),
        IssueCode.INVALID_VALUE,
        "true or false is expected, not 'yes'",
        "rules[base].stop_after_match",
        "write true or false, without quotes",
    ),
    "order in quotes": (
        rule(f"condition: 'true', order: '10', actions: [{CREDIT}]"),
        IssueCode.INVALID_VALUE,
        "a whole number is expected, not '10'",
        "rules[base].order",
        "write digits without quotes, as 10",
    ),
    "order 0": (
        rule(f"condition: 'true', order: 0, actions: [{CREDIT}]"),
        IssueCode.INVALID_VALUE,
        "0 is less than 1",
        "rules[base].order",
        "write a number from 1",
    ),
    "number as name": (
        "rules:\n  - {key: 7, name: Base, condition: 'true', actions: [" + CREDIT + "]}\n",
        IssueCode.INVALID_VALUE,
        "text is expected, not 7",
        "rules[Base].key",
        "put the value in quotes",
    ),
    "time without offset": (
        rule(f"condition: 'true', active_from: 2026-01-01T00:00:00, actions: [{CREDIT}]"),
        IssueCode.INVALID_VALUE,
        "'2026-01-01T00:00:00' is not an RFC 3339 time with offset",
        "rules[base].active_from",
        "write an RFC 3339 time with offset such as 2026-01-31T00:00:00Z",
    ),
    "window turned round": (
        rule(
            "condition: 'true', active_from: '2026-01-02T00:00:00Z', active_to: '2026-01-01T00:00:00Z',"
            f" actions: [{CREDIT}]"
        ),
        IssueCode.INVALID_VALUE,
        "active_from is after active_to",
        "rules[base]",
        "exchange the two times",
    ),
    "two names": (
        action("{type: CREDIT, asset: PTS, asset_id: PTS, amount: 5}"),
        IssueCode.DUPLICATE_KEY,
        "`asset` and `asset_id` are the same field",
        "rules[base].actions[0].asset_id",
        "keep one of them",
    ),
    "two budgets": (
        rule(f"condition: 'true', actions: [{CREDIT}], budgets: [{{asset: PTS, limit: 5}}, {{asset: PTS, limit: 6}}]"),
        IssueCode.DUPLICATE_KEY,
        "the rule has two budgets for PTS",
        "rules[base].budgets[1].asset",
        "keep one budget per asset",
    ),
    "unknown asset": (
        action("{type: CREDIT, asset: PTSS, amount: 5}"),
        IssueCode.UNKNOWN_REFERENCE,
        "there is no asset `PTSS`",
        "rules[base].actions[0].asset",
        "did you mean `PTS`?",
    ),
    "unknown tier": (
        action("{type: SET_TIER, tier: status, level: gold}"),
        IssueCode.UNKNOWN_REFERENCE,
        "there is no tier `status`",
        "rules[base].actions[0].tier",
        "define the tier first",
    ),
    "unlinked asset": (
        action("{type: CREDIT, asset: FAR, amount: 5}"),
        IssueCode.ASSET_NOT_LINKED,
        "asset FAR is not linked to program `loyalty`",
        "rules[base].actions[0].asset",
        "add loyalty to programs of asset FAR",
    ),
    "expiry on SIMPLE": (
        action("{type: CREDIT, asset: USD, amount: 5, expires_at: 24h}"),
        IssueCode.NOT_LOT_ASSET,
        "`expires_at` needs a LOT asset; USD is SIMPLE",
        "rules[base].actions[0].expires_at",
        "remove it, or use an asset with inventory_mode LOT",
    ),
    "void on SIMPLE": (
        action("{type: VOID_HOLD, asset: USD, reference_id: event.id}"),
        IssueCode.NOT_LOT_ASSET,
        "VOID_HOLD needs a LOT asset; USD is SIMPLE",
        "rules[base].actions[0].type",
        "remove it, or use an asset with inventory_mode LOT",
    ),
    "expires before it matures": (
        action("{type: CREDIT, asset: PTS, amount: 5, expires_at: 24h, matures_at: 48h}"),
        IssueCode.INVALID_LOT_DATES,
        "the lot would expire (24h) before it matures (48h)",
        "rules[base].actions[0]",
        "make expires_at later than matures_at",
    ),
    "expires at once": (
        action("{type: CREDIT, asset: PTS, amount: 5, expires_at: 0s}"),
        IssueCode.INVALID_LOT_DATES,
        "the lot would expire the moment it is created",
        "rules[base].actions[0]",
        "give expires_at a longer duration",
    ),
    "two entities in a target": (
        action("{type: TAG, tag: x, target: {type: PARTICIPANT, id: event.a, external_id: event.b}}"),
        IssueCode.INVALID_TARGET,
        "a PARTICIPANT target has 2 of id, external_id and participant_id",
        "rules[base].actions[0].target",
        "give exactly one of them",
    ),
    "group by external id": (
        action("{type: TAG, tag: x, target: {type: GROUP, external_id: event.b}}"),
        IssueCode.INVALID_TARGET,
        "a GROUP target takes id and nothing else",
        "rules[base].actions[0].target",
        "give the group's id or key as id",
    ),
    "credit to a program": (
        action("{type: CREDIT, asset: PTS, amount: 5, target: {type: PROGRAM}}"),
        IssueCode.INVALID_TARGET,
        "CREDIT cannot have a PROGRAM target",
        "rules[base].actions[0]",
        "PROGRAM targets are for TAG, UNTAG, COUNTER and SET_ATTRIBUTE",
    ),
    "event for a group": (
        action("{type: SCHEDULE_EVENT, event_name: x, delay: 24h, target: {type: GROUP, id: event.g}}"),
        IssueCode.INVALID_TARGET,
        "SCHEDULE_EVENT cannot have a GROUP target",
        "rules[base].actions[0]",
        "use a PARTICIPANT target or leave target out",
    ),
    "matures in HELD": (
        action("{type: CREDIT, asset: PTS, amount: 5, bucket: HELD, matures_at: 48h}"),
        IssueCode.INVALID_COMBINATION,
        "a credit to HELD cannot have matures_at",
        "rules[base].actions[0]",
        "remove matures_at, or credit bucket AVAILABLE",
    ),
    "negative HELD": (
        action("{type: DEBIT, asset: PTS, amount: 5, bucket: HELD, allow_negative: true}"),
        IssueCode.INVALID_COMBINATION,
        "HELD can never be negative",
        "rules[base].actions[0]",
        "remove allow_negative, or debit bucket AVAILABLE",
    ),
    "redemption target without entity": (
        "redemption_target_type: LEDGER_ENTITY\n",
        IssueCode.MISSING_FIELD,
        "redemption_target_entity_id is missing for LEDGER_ENTITY",
        "programs[loyalty]",
        "name the participant, group or program that receives redemptions",
    ),
    "redemption entity without type": (
        "redemption_target_entity_id: shop\n",
        IssueCode.INVALID_COMBINATION,
        "redemption_target_entity_id does not go with SYSTEM_REDEMPTION",
        "programs[loyalty]",
        "remove it, or set redemption_target_type to LEDGER_ENTITY",
    ),
    "duration without unit": (
        action("{type: COUNTER, key: n, value: 1, reset_after: 24}"),
        IssueCode.DURATION,
        "text is expected",
        "rules[base].actions[0].reset_after",
        "write a Go duration such as 24h, 1h30m or 8760h (units ns us ms s m h)",
    ),
    "days are no duration": (
        action("{type: CREDIT, asset: PTS, amount: 5, expires_at: 30d}"),
        IssueCode.DURATION,
        "'30d' is neither a duration nor an RFC 3339 time",
        "rules[base].actions[0].expires_at",
        "write a Go duration such as 8760h or an RFC 3339 time such as 2026-12-31T23:59:59Z",
    ),
    "budget faster than a minute": (
        rule(
            f"condition: 'true', actions: [{CREDIT}],"
            " budgets: [{asset: PTS, limit: 5, schedule_type: INTERVAL, interval: 59s}]"
        ),
        IssueCode.DURATION,
        "the interval is shorter than 60s",
        "rules[base].budgets[0].interval",
        "write at least 60s",
    ),
    "budget without its schedule": (
        rule(f"condition: 'true', actions: [{CREDIT}], budgets: [{{asset: PTS, limit: 5, schedule_type: CRON}}]"),
        IssueCode.MISSING_FIELD,
        "cron_expression is missing for schedule_type CRON",
        "rules[base].budgets[0]",
        "add cron_expression, or remove schedule_type for a lifetime budget",
    ),
    "six cron fields": (
        rule(
            f"condition: 'true', actions: [{CREDIT}],"
            " budgets: [{asset: PTS, limit: 5, schedule_type: CRON, cron_expression: 0 0 0 1 * *}]"
        ),
        IssueCode.CRON,
        "'0 0 0 1 * *' has not the five fields minute, hour, day of month, month, day of week",
        "rules[base].budgets[0].cron_expression",
        "write five fields: minute hour day-of-month month day-of-week, as 0 9 * * MON",
    ),
    "a cron that never fires": (
        rule(
            f"condition: 'true', actions: [{CREDIT}],"
            " budgets: [{asset: PTS, limit: 5, schedule_type: CRON, cron_expression: 0 0 30 2 *}]"
        ),
        IssueCode.CRON,
        "'0 0 30 2 *' never fires",
        "rules[base].budgets[0].cron_expression",
        "write five fields: minute hour day-of-month month day-of-week, as 0 9 * * MON",
    ),
    "an hour that no day has": (
        "automations:\n  - {key: a, name: A, event_name: e, scope: participants, trigger: {type: participant_state,"
        " schedule_type: CRON, schedule_config: {cron_expression: 0 24 * * *}}}\n",
        IssueCode.CRON,
        "24 is outside the range of hour, 0 to 23",
        "automations[a].trigger.schedule_config.cron_expression",
        "write five fields: minute hour day-of-month month day-of-week, as 0 9 * * MON",
    ),
    "limit beyond the scale": (
        rule(f"condition: 'true', actions: [{CREDIT}], budgets: [{{asset: PTS, limit: 5.005}}]"),
        IssueCode.INVALID_VALUE,
        "5.005 does not fit asset PTS, which has 2 decimals",
        "rules[base].budgets[0].limit",
        "write an amount with at most 2 decimals below 2^63 minor units",
    ),
    "limit 0": (
        rule(f"condition: 'true', actions: [{CREDIT}], budgets: [{{asset: PTS, limit: 0}}]"),
        IssueCode.INVALID_VALUE,
        "'0' is not greater than 0",
        "rules[base].budgets[0].limit",
        "write a positive decimal such as 100 or '99.50'",
    ),
    "nameless rule with a budget": (
        "rules:\n  - {name: Base, condition: 'true', actions: [" + CREDIT + "], budgets: [{asset: PTS, limit: 5}]}\n",
        IssueCode.MISSING_FIELD,
        "a rule with budgets needs a key or an id",
        "rules[Base].key",
        "add key",
    ),
    "tier key": (
        "tiers:\n  - {key: Status, display_name: S, levels: [{key: gold, rank: 1}]}\n",
        IssueCode.INVALID_VALUE,
        "'Status' has characters that are not allowed",
        "tiers[Status].key",
        "use lower-case letters, digits and _, beginning with a letter",
    ),
    "two levels of one rank": (
        "tiers:\n  - {key: status, display_name: S, levels: [{key: gold, rank: 1}, {key: silver, rank: 1}]}\n",
        IssueCode.DUPLICATE_KEY,
        "two levels have the rank 1",
        "tiers[status].levels[silver].rank",
        "give each level its own rank",
    ),
    "period without a period": (
        "tiers:\n  - {key: status, display_name: S, levels: [{key: gold, rank: 1}],"
        " lifecycle: {retention: {mode: PERIOD_BASED}}}\n",
        IssueCode.TIER_LIFECYCLE,
        "PERIOD_BASED retention has no period",
        "tiers[status].lifecycle",
        "set qualification_period.type to CALENDAR_YEAR or FIXED_YEAR",
    ),
    "activity without a duration": (
        "tiers:\n  - {key: status, display_name: S, levels: [{key: gold, rank: 1}],"
        " lifecycle: {retention: {mode: ACTIVITY_REFRESH}}}\n",
        IssueCode.TIER_LIFECYCLE,
        "ACTIVITY_REFRESH retention has no duration",
        "tiers[status].lifecycle",
        "add retention.duration such as 8760h",
    ),
    "too long an extension": (
        "tiers:\n  - {key: status, display_name: S, levels: [{key: gold, rank: 1}],"
        " lifecycle: {status_validity: {extend_months: 10}, downgrade_policy: {grace_days: 21}}}\n",
        IssueCode.TIER_LIFECYCLE,
        "31 × extend_months + grace_days is 331, more than 330",
        "tiers[status].lifecycle",
        "shorten extend_months or grace_days",
    ),
    "30 February": (
        "tiers:\n  - {key: status, display_name: S, levels: [{key: gold, rank: 1}],"
        " lifecycle: {qualification_period: {type: FIXED_YEAR, start_month: 2, start_day: 30}}}\n",
        IssueCode.TIER_LIFECYCLE,
        "FIXED_YEAR needs a start_month and a start_day that exists in it",
        "tiers[status].lifecycle.qualification_period",
        "write for example start_month: 4 and start_day: 1",
    ),
    "unknown floor": (
        "tiers:\n  - {key: status, display_name: S, levels: [{key: gold, rank: 1}],"
        " lifecycle: {downgrade_policy: {min_level: golden}}}\n",
        IssueCode.UNKNOWN_REFERENCE,
        "there is no level `golden`",
        "tiers[status].lifecycle.downgrade_policy.min_level",
        "did you mean `gold`?",
    ),
    "limits of an amount reward": (
        "rewards:\n  - {key: cash, name: Cash, redemption_type: AMOUNT_BASED, asset: PTS, unit_cost: 5, status: ACTIVE,"
        " max_total: 3}\n",
        IssueCode.INVALID_COMBINATION,
        "max_total and max_per_participant count units",
        "rewards[cash]",
        "remove them or set redemption_type to UNIT_BASED",
    ),
    "participant_state of a program": (
        "automations:\n  - {key: a, name: A, event_name: e, scope: program, trigger:"
        " {type: participant_state, schedule_type: INTERVAL, schedule_config: {every: 24h}}}\n",
        IssueCode.TRIGGER_SCOPE,
        "a trigger of type participant_state has no scope program",
        "automations[a]",
        "set scope to participants",
    ),
    "participant of a cron": (
        "automations:\n  - {key: a, name: A, event_name: e, scope: program, trigger: {type: cron,"
        " cron_expression: 0 9 * * MON}, participant_id: 5f4d6c80-b779-5174-9e3e-37d6ea331a70}\n",
        IssueCode.TRIGGER_SCOPE,
        "participant_id needs trigger type one_time and scope program",
        "automations[a]",
        "remove participant_id, or change trigger and scope",
    ),
    "time of day": (
        "automations:\n  - {key: a, name: A, event_name: e, scope: participants, trigger: {type: participant_state,"
        " schedule_type: ATTRIBUTE_DATE, schedule_config: {attribute: birthday, time: '24:00'}}}\n",
        IssueCode.INVALID_VALUE,
        "'24:00' is not a time of day",
        "automations[a].trigger.schedule_config.time",
        "write HH:MM such as '09:00'",
    ),
    "unknown zone": (
        "automations:\n  - {key: a, name: A, event_name: e, scope: program, trigger: {type: cron,"
        " cron_expression: 0 9 * * MON, timezone: Chicago}}\n",
        IssueCode.INVALID_VALUE,
        "'Chicago' is not a zone of the time zone database",
        "automations[a].trigger.timezone",
        "write a name such as Europe/Berlin or UTC",
    ),
    "a zone that counts leap seconds": (
        "automations:\n  - {key: a, name: A, event_name: e, scope: participants, trigger: {type: participant_state,"
        " schedule_type: INTERVAL, schedule_config: {every: 24h}, timezone: right/UTC}}\n",
        IssueCode.INVALID_VALUE,
        "'right/UTC' is not a zone of the time zone database",
        "automations[a].trigger.timezone",
        "write a name such as Europe/Berlin or UTC",
    ),
    "a mapping is no list": (
        "rules: {key: base}\n",
        IssueCode.INVALID_VALUE,
        "a list is expected, not a mapping",
        "programs[loyalty].rules",
        "write each rule as an item that begins with `-`",
    ),
    "another program around it": (
        rule(f"program: other, condition: 'true', actions: [{CREDIT}]"),
        IssueCode.INVALID_COMBINATION,
        "the rule stands in program `loyalty` and names program `other`",
        "rules[base].program",
        "remove one of them",
    ),
    "unknown level": (
        "tiers:\n  - {key: status, display_name: S, levels: [{key: gold, rank: 1}]}\n"
        + action("{type: SET_TIER, tier: status, level: silver}"),
        IssueCode.UNKNOWN_REFERENCE,
        "there is no level `silver`",
        "rules[base].actions[0].level",
        "choose one of `gold`",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_names_code_message_place_and_remedy(tmp_path: Path, name: str) -> None:
    inside, code, message, path, remedy = CASES[name]
    issues = check(tmp_path, inside)
    assert [issue.code for issue in issues] == [code], "\n".join(map(render_issue, issues))
    issue = issues[0]
    expected = path if path.startswith("programs") else f"programs[loyalty].{path}"
    assert (issue.message, issue.path, issue.remedy) == (message, expected, remedy)
    last = HEAD.count("\n") + dedent(inside).count("\n")
    assert issue.line is not None
    assert FIRST - 2 <= issue.line <= last
    assert render_issue(issue).startswith(f"{tmp_path}/rules.yaml:{issue.line}: {expected}: {code.value} {message}")


def test_the_line_is_that_of_the_field(tmp_path: Path) -> None:
    issues = check(
        tmp_path,
        """\
        rules:
          - key: base
            name: Base
            condition: "true"
            order: zero
            actions:
              - type: CREDIT
                asset_id: PTS
                amount: 5
                expires_at: tomorrow
        """,
    )
    assert [(issue.line, issue.column, issue.path) for issue in issues] == [
        (FIRST + 4, 9, "programs[loyalty].rules[base].order"),
        (FIRST + 9, 13, "programs[loyalty].rules[base].actions[0].expires_at"),
    ]


@pytest.mark.parametrize(
    "inside, path",
    [
        (action("{type: TAG, tag: x, amount: 5}"), "rules[base].actions[0].amount"),
        (
            rule(f"condition: 'true', actions: [{CREDIT}], budgets: [{{asset: PTS, limit: 5, interval: 24h}}]"),
            "rules[base].budgets[0].interval",
        ),
        (
            "automations:\n  - {key: a, name: A, event_name: e, scope: participants,"
            " trigger: {type: immediate, timezone: UTC}}\n",
            "automations[a].trigger.timezone",
        ),
    ],
)
def test_fields_of_another_type_are_ignored_with_a_warning(tmp_path: Path, inside: str, path: str) -> None:
    issues = check(tmp_path, inside)
    assert [(issue.code, issue.is_error, issue.path) for issue in issues] == [
        (IssueCode.UNKNOWN_FIELD, False, f"programs[loyalty].{path}")
    ]
    assert issues[0].remedy.startswith("remove ")
