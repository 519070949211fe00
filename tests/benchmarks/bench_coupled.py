"""Rules that couple participants: a monthly budget, a counter of the program, a prefunded wallet, five hundred groups.

python -m tests.benchmarks.bench_coupled --events 1000000 --participants 100000
"""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.measure import main

DEFINITIONS = Path(__file__).parent / "coupled" / "definitions.yaml"
MERCHANTS = 500
BEFORE = "2024-12-31T00:00:00Z"

_owner = {"type": "upsert_participant", "idempotency_key": "owner", "effective_at": BEFORE, "external_id": "owner"}
_fund = {
    "type": "fund",
    "idempotency_key": "fund",
    "effective_at": BEFORE,
    "program_id": "loyalty",
    "asset_id": "PTS",
    "amount": "1000000000",
}
_groups = [
    {
        "type": "create_group",
        "idempotency_key": f"group-{number}",
        "effective_at": BEFORE,
        "key": f"m-{number:04d}",
        "name": f"Merchant {number}",
        "members": [{"external_id": "owner", "role": "ADMIN"}],
    }
    for number in range(1, MERCHANTS + 1)
]

if __name__ == "__main__":
    main(__doc__, DEFINITIONS, operations=[_owner, _fund, *_groups])
