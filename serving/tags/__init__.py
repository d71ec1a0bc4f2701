"""Tags: one expression, one evaluator, two sources; and snapshots of everybody."""
