"""A site's part in federated calibration: scores of its patients as counts, and what of them may leave."""
