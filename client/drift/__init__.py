"""`ra-client drift`: whether what a site scores still fits its calibration."""
