"""`ra-server dashboard`: one page that tells in five seconds whether all is well."""

from server.dashboard.command import dashboard

__all__ = ["dashboard"]
