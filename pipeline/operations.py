"""The columns that the kernel reads of operations: asset and amount, from their canonical fields."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TypedDict

import numpy as np
import pyarrow as pa

from earnbook.ledger.amounts import classify_amount
from earnbook.ledger.schema import Int64s, RecordKind
from earnbook.pipeline.terms import RunTerms


class OperationColumns(TypedDict):
    """Per record, in log order; events have the defaults of `ledger.results.work_of`."""

    operation: Int64s
    asset: Int64s
    amount: Int64s
    code: Int64s


def operation_columns(records: pa.Table, run: RunTerms) -> OperationColumns:
    """Type, asset index, amount in minor units and value code of each record (§15.2)."""
    count = records.num_rows
    asset, amount, code = np.full(count, -1, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64)
    is_operation = records.column("record_kind").to_numpy() == int(RecordKind.OPERATION)
    fields = records.column("fields")
    for row in np.flatnonzero(is_operation).tolist():
        values = json.loads(fields[row].as_py())
        if "asset_id" not in values:
            continue
        asset[row] = run.asset_indexes.get(values["asset_id"], -1)
        if asset[row] >= 0:
            scale = run.terms.assets[asset[row]].scale
            amount[row], code[row] = classify_amount(Decimal(str(values["amount"])), scale)
    operation = records.column("operation").to_numpy().astype(np.int64)
    return OperationColumns(operation=operation, asset=asset, amount=amount, code=code)
