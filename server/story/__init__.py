"""What a run's events amount to, folded one by one: what the operator's commands and the dashboard both show."""
