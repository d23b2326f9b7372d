"""From a hospital's files to tensors: who is in which split, how a file becomes pixels, how pixels become an image."""

from ra_core.data.cache import ArrayCache, content_hash
from ra_core.data.dataset import ImageSet
from ra_core.data.image import Image, load_image, load_mask
from ra_core.data.manifest import Label, Manifest, Row, Split
from ra_core.data.preprocess import preprocess, preprocess_mask
from ra_core.data.readers import RawImage, read_mask, read_pixels
from ra_core.data.site_images import KnownMasks, SiteImages

__all__ = [
    "ArrayCache",
    "Image",
    "ImageSet",
    "KnownMasks",
    "Label",
    "Manifest",
    "RawImage",
    "Row",
    "SiteImages",
    "Split",
    "content_hash",
    "load_image",
    "load_mask",
    "preprocess",
    "preprocess_mask",
    "read_mask",
    "read_pixels",
]
