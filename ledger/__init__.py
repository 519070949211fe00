"""earnbook.ledger: the books. State, lots, applying effects, due work. No I/O, no clock, no randomness."""
