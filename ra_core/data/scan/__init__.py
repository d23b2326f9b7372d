"""A folder of files becomes a list of what can be used, what can't, and why; it stays at the site."""

from ra_core.data.scan.folder import rows_of
from ra_core.data.scan.records import THUMBNAIL, Entry, Picture, Pixels, Scan
from ra_core.data.scan.rules import ScanRules
from ra_core.data.scan.scan import scan
from ra_core.data.scan.walk import walk

__all__ = [
    "THUMBNAIL",
    "Entry",
    "Picture",
    "Pixels",
    "Scan",
    "ScanRules",
    "rows_of",
    "scan",
    "walk",
]
