"""The aggregation of what hospitals send."""
