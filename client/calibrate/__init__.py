"""`ra-client calibrate`: a site sets its thresholds on its own healthy images."""
