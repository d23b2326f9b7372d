"""Describing a folder: `ra-client init` and `ra-client config`."""
