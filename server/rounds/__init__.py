"""A run from joining to delivery: the round loop, what it takes and keeps, and what it tells."""
