"""One hospital: trains on its own healthy images only and decides what leaves."""
