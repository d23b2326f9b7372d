"""A folder of files becomes a list of what can be used, what can't, and why; it stays at the site."""

from ra_core.data.scan.folder import rows_of
from ra_core.data.scan.records import THUMBNAIL, Entry, Picture, Pixels, Scan, Series
from ra_core.data.scan.rules import ScanRules
from ra_core.data.scan.scan import scan
from ra_core.data.scan.stacks import stacks
from ra_core.data.scan.walk import Found, walk

__all__ = [
    "THUMBNAIL",
    "Entry",
    "Found",
    "Picture",
    "Pixels",
    "Scan",
    "ScanRules",
    "Series",
    "rows_of",
    "scan",
    "stacks",
    "walk",
]
