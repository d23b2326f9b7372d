"""Made-up entries of a scan, and small picture files, for the tests of scans and of what works on them."""

import hashlib

import numpy as np
from PIL import Image

from ra_core.data.readers.source import Facts
from ra_core.data.scan import THUMBNAIL, Entry, Picture

NORMALS = {"axial": (0.0, 0.0, 1.0), "coronal": (0.0, -1.0, 0.0), "sagittal": (1.0, 0.0, 0.0)}


def picture(content, frame=0, thumbnail=None):
    """One whose pixels are told by `content`: equal ones are equal pictures."""
    digest = hashlib.sha256(str(content).encode()).hexdigest()
    if thumbnail is None:
        thumbnail = np.random.default_rng(int(digest[:8], 16)).integers(0, 256, (THUMBNAIL, THUMBNAIL), dtype=np.uint8)
    return Picture(frame, digest, thumbnail, 0.5, 0.2, 0.8, 0.1, 0.0)


def entry(path, content=None, patient="", reason=None, thumbnail=None, **facts):
    """A file that was read; its pixels are told by `content`, its own unless given."""
    told = Facts(**{"kind": "raster", "frames": 1, "shape": (64, 64), "patient": patient} | facts)
    pictures = () if reason else (picture(path if content is None else content, thumbnail=thumbnail),)
    return Entry(path, reason, facts=told, pictures=pictures, patient=patient)


def ct_slice(path, position, plane="axial", series="1", shift=0.0, **more):
    """A slice at a place along its stack's normal, moved sideways by `shift`."""
    normal = np.array(NORMALS[plane])
    sideways = np.roll(np.abs(normal), 1)
    origin = tuple(float(part) for part in position * normal + shift * sideways)
    facts = {"kind": "dicom", "series": series, "normal": tuple(normal), "origins": (origin,)}
    return entry(path, **facts | {"positions": (float(position),)} | more)


def save_noise(path, seed, shape=(48, 40)):
    """A picture file unlike every other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
