"""From a hospital's files to tensors: who is in which split, how a file becomes pixels, how pixels become an image."""

from ra_core.data.boxes import Box, boxes_text, parse_boxes
from ra_core.data.cache import ArrayCache, content_hash
from ra_core.data.dataset import ImageSet
from ra_core.data.geometry import Geometry
from ra_core.data.held import HeldImages
from ra_core.data.image import Image, load_image, prepare
from ra_core.data.joined import JoinedImages
from ra_core.data.manifest import Label, Manifest, Row, Split, manifest_bytes
from ra_core.data.readers import RawImage, Reading, open_source, read_pixels
from ra_core.data.site_images import KnownBoxes, KnownMasks, SiteImages, halves

__all__ = [
    "ArrayCache",
    "Box",
    "Geometry",
    "HeldImages",
    "Image",
    "ImageSet",
    "JoinedImages",
    "KnownBoxes",
    "KnownMasks",
    "Label",
    "Manifest",
    "RawImage",
    "Reading",
    "Row",
    "SiteImages",
    "Split",
    "boxes_text",
    "content_hash",
    "halves",
    "load_image",
    "manifest_bytes",
    "open_source",
    "parse_boxes",
    "prepare",
    "read_pixels",
]
