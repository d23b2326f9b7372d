"""Who a hospital's patients are, planted wherever it may stand in its files; and the search for it, in any disguise."""

import base64
import csv
import re
import shutil
import zlib

import nibabel as nib
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scorable import as_nifti, head, heads, write_dicom, write_series

FOLDER, FILE, TEXT = "Ordner-Quitte", "Datei-Hölunder", "Freitext-Sanddorn"
TAGS = {
    "PatientName": "Zwetschge^Roswitha",
    "PatientID": "PID-909-77",
    "PatientBirthDate": "19310203",
    "AccessionNumber": "ACC-717-31",
    "OtherPatientIDs": "OID-515-22",
    "PatientComments": TEXT,
    "InstitutionName": "Klinik-Mispel",
    "ReferringPhysicianName": "Schlehe^Ottokar",
    "StudyInstanceUID": "1.2.840.98765432.1",
}
SECRETS = (
    *("Zwetschge", "Roswitha", "PID-909", "19310203", "1931-02-03", "ACC-717", "OID-515", "Klinik-Mispel"),
    *("Schlehe", "Ottokar", "1.2.840.98765432", FOLDER, FILE, TEXT),
)

RAISED = f"no access to {FOLDER}/{FILE}-7.dcm of {TAGS['PatientName']}, {TAGS['PatientID']}: {TEXT}"
"""What an error may say at a site."""


def write_hospital(root):
    """30 healthy and 6 abnormal patients of all formats, and files that are damaged in several ways."""
    for number in range(36):
        folder = root / FOLDER / ("healthy" if number < 30 else "tumor")
        tags = TAGS | {"PatientID": f"{TAGS['PatientID']}-{number}", "Modality": "OT", "BodyPartExamined": "HEAD"}
        write_dicom(
            folder / f"{FILE}-{number}.dcm", head((70, 60), number), series=f"1.2.840.98765432.{number}", **tags
        )
    damaged = root / FOLDER / "healthy"
    first = damaged / f"{FILE}-0.dcm"
    (damaged / f"{FILE}-cut.dcm").write_bytes(first.read_bytes()[:-999])
    (damaged / f"{FILE}-empty.dcm").touch()
    (damaged / f"{FILE}-text.png").write_text(TEXT)
    write_series(damaged / f"{FILE}-series", heads(4), **TAGS | {"PatientID": TAGS["PatientID"], "Modality": "OT"})
    text = PngInfo()
    text.add_text("Comment", TEXT)
    text.add_text("Patient", TAGS["PatientName"], zip=True)
    Image.fromarray(head((70, 60), 77)).save(damaged / f"{FILE}.png", pnginfo=text)
    write_volume(damaged / f"{FILE}.nii.gz", heads(3))
    (root / FOLDER / f"{FILE}-note.txt").write_text(TAGS["PatientName"])


def write_images(root):
    """A hospital's files, less those with which it could not join: copies of pictures."""
    write_hospital(root)
    healthy = root / FOLDER / "healthy"
    shutil.rmtree(healthy / f"{FILE}-series")
    write_volume(healthy / f"{FILE}.nii.gz", np.stack([head((70, 60), number) for number in (91, 92, 93)]))


def plant(site_root, root):
    """A data root with the same pixels, splits and order of patients, whose files and patients have names; the root."""
    header, *rows = list(csv.reader((site_root / "manifest.csv").open()))
    (root / FOLDER).mkdir(parents=True)
    copied = []
    for row in rows:
        known = dict(zip(header, row, strict=True))
        for key in ("path", "lesion_mask"):
            if known[key]:
                known[key] = _copied(site_root / known[key], root)
        copied.append([*(known | {"patient_id": f"{TAGS['PatientID']}-{known['patient_id']}"}).values()])
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *copied])
    return root


def _copied(picture, root):
    """Write a PNG with names in its texts; its place in the root."""
    text = PngInfo()
    text.add_text("Patient", TAGS["PatientName"])
    place = f"{FOLDER}/{FILE}-{picture.name}"
    with Image.open(picture) as image:
        image.save(root / place, pnginfo=text)
    return place


def write_volume(path, pictures):
    """A NIfTI file that names a patient in its header, twice, and in an extension."""
    volume = nib.Nifti1Image(as_nifti(pictures), np.eye(4))
    volume.header["descrip"] = TAGS["PatientName"].encode()
    volume.header["db_name"] = TAGS["PatientID"].encode()
    volume.header.extensions.append(nib.nifti1.Nifti1Extension("comment", TEXT.encode()))
    nib.save(volume, path)


def named(contents):
    """Which secrets are in contents, of those that have any; both by name."""
    return {name: there for name, content in contents if (there := found(content, SECRETS))}


def forms(secret):
    """A text as it may stand in a file: any case, UTF-8, Latin-1 and UTF-16; and in base64 at any place."""
    for encoding in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
        yield secret.lower().encode(encoding)


def in_base64(secret):
    for shift in range(3):
        whole = base64.b64encode(bytes(shift) + secret.encode())
        yield whole[(0, 2, 3)[shift] : len(whole) // 4 * 4 - 4]  # without the characters that neighbours have a part in


def unpacked(content):
    """A file's bytes, and those of what is packed in it: pictures of a page, compressed chunks of a PNG."""
    yield content
    for packed in re.findall(rb"base64,([A-Za-z0-9+/=]+)", content):
        yield from unpacked(base64.b64decode(packed))
    for place in (match.start() for match in re.finditer(rb"zTXt|iTXt", content)):
        for start in range(place, min(place + 100, len(content))):
            try:
                yield zlib.decompressobj().decompress(content[start:])
            except zlib.error:
                continue


def found(content, secrets):
    """Which secrets are in a file."""
    there = set()
    for part in unpacked(content):
        plain = part.lower()
        there |= {s for s in secrets if any(form in plain for form in forms(s)) or any(f in part for f in in_base64(s))}
    return there
