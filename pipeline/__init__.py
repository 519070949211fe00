"""earnbook.pipeline: the shell around rules and ledger. Sources, intake, order, prefetch, execute, commit, reports."""
