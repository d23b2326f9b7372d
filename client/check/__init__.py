"""`ra-client check`: what a hospital has to know of its data before it joins."""

from client.check.command import check

__all__ = ["check"]
