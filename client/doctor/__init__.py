"""`ra-client doctor`: everything that joining needs, looked at one by one, and what to do about what isn't well."""

from client.doctor.command import doctor

__all__ = ["doctor"]
