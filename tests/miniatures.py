"""Small copies of the layouts of public sets, made up from noise, for the tests of their importers."""

import csv
import json

import nibabel as nib
import numpy as np
import PIL.Image
from dicoms import write_dicom
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage

HEALTHY = 64
"""Images that are healthy beyond doubt in each set, but for ATLAS: some four fall into the smallest split."""

FAR_FROM_AXIAL = np.array([[0, 0, -1.2, 90], [0.9375, 0, 0, -120], [0, -0.9375, 0, 130], [0, 0, 0, 1]])
"""Of IXI's volumes, which are stored sagittally."""

GRAZ_COLUMNS = (
    *("filestem", "patient_id", "study_number", "timehash", "gender", "age", "laterality", "projection"),
    *("initial_exam", "ao_classification", "cast", "diagnosis_uncertain", "osteopenia", "fracture_visible", "metal"),
    *("pixel_spacing", "device_manufacturer"),
)


def noise(seed, shape, kind=np.uint8, top=120):
    """Grey noise of its own."""
    return np.random.default_rng(seed).integers(20, top, shape).astype(kind)


def spot(pixels, box, value=250):
    """A white rectangle: (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = value
    return pixels


def write_csv(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def save_volume(path, seed, affine=FAR_FROM_AXIAL, shape=(36, 6, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(noise(seed, shape, np.int16), affine), path)


def ixi(root, people=HEALTHY):
    """Plain volumes as IXI-T1.tar has them."""
    for person in range(people):
        name = f"IXI{person + 2:03d}-{('Guys', 'HH', 'IOP')[person % 3]}-{828 + person:04d}-T1.nii.gz"
        save_volume(root / "IXI-T1" / name, person)
    return root / "IXI-T1"


def atlas(root, people=5, hidden=2):
    """The training part with masks, the testing part without."""
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    for part, count in (("Training", people), ("Testing", hidden)):
        for person in range(1, count + 1):
            name = f"sub-r001s{person:03d}"
            folder = root / "ATLAS_2" / part / "R001" / name / "ses-1" / "anat"
            stem = f"{name}_ses-1_space-MNI152NLin2009aSym"
            save_volume(folder / f"{stem}_T1w.nii.gz", 100 * count + person, affine, (40, 44, 7))
            if part == "Training":
                mask = np.zeros((40, 44, 7), np.uint8)
                mask[10:20, 12:30, 3] = 1
                nib.save(nib.Nifti1Image(mask, affine), folder / f"{stem}_label-L_desc-T1lesion_mask.nii.gz")
    return root / "ATLAS_2"


FASTMRI_COLUMNS = ("file", "slice", "study_level", "x", "y", "width", "height", "label")
FASTMRI_BOX = (15, 40, 31, 60)


def fastmri(root, normals=HEALTHY):
    """DICOM slices as the annotators' script makes them, and the two tables of fastMRI+."""
    folder, labels = root / "fastmri", []
    for number in range(normals):
        subject = f"file_brain_AXT1_202_{2020000 + number}"
        _slices(folder, subject, number)
        if number % 2:
            labels.append([subject, 0, "Yes", "", "", "", "", "Normal for age"])
    x0, y0, x1, y1 = FASTMRI_BOX
    box = [x0, y0, x1 - x0, y1 - y0]
    special = {
        "edema": [[2, "No", *box, "Edema"], [2, "No", 2, 3, 8, 9, "Mass"], [5, "No", *box, "Edema"]],
        "small": [[0, "Yes", "", "", "", "", "Global label: Small vessel chronic, ischemic"]],
        "above": [[9, "No", *box, "Craniotomy"]],
        "motion": [[0, "Yes", "", "", "", "", "Motion artifact"], [2, "No", *box, "Possible artifact"]],
        "short": [[2, "No", *box, "Mass"]],
        "unreviewed": [],
    }
    for number, (name, rows) in enumerate(special.items()):
        subject = f"file_brain_AXT1_201_{name}"
        _slices(folder, subject, 1000 + number, 2 if name == "short" else 4, name == "edema")
        labels += [[subject, *row] for row in rows]
    _slices(folder, "file_brain_AXFLAIR_200_6002425", 2000)
    write_csv(
        folder / "Annotations" / "brain.csv",
        ["file", "slice", "study_level", "x", "y", "width", "height", "label"],
        labels,
    )
    reviewed = [f"file_brain_AXT1_202_{2020000 + number}" for number in range(normals)]
    reviewed += [f"file_brain_AXT1_201_{name}" for name in special if name != "unreviewed"]
    reviewed += ["file_brain_AXFLAIR_200_6002425", "file_brain_AXT1_206_elsewhere"]
    (folder / "Annotations" / "brain_file_list.csv").write_text("\n".join(reviewed) + "\n")
    return folder


def _slices(folder, subject, seed, count=4, sick=False):
    (folder / subject).mkdir(parents=True)
    for number in range(count):
        pixels = noise((seed, number), (80, 80), np.int16)
        if sick and number == 2:
            spot(pixels, FASTMRI_BOX)
        write_dicom(
            folder / subject / f"{subject}_{number:03d}.dcm",
            pixels,
            SOPClassUID=MRImageStorage,
            SOPInstanceUID=f"9999.{seed + 1}.{number + 1}",
            SeriesInstanceUID=f"9999.{seed + 1}",
            StudyInstanceUID=f"999.{seed + 1}",
            Modality="MR",
            PatientID=subject,
            NumberOfFrames="1",
            PixelSpacing=[0.6875, 0.6875],
            BitsStored=12,
            HighBit=11,
            WindowCenter="150",
            WindowWidth="300",
        )


GRAZ_BOX = (20, 50, 44, 74)


def grazpedwri(root, healthy=HEALTHY):
    """Films of 100 × 64 pixels with 16 bits, half of them in either part; YOLO boxes; the table."""
    folder, rows = root / "grazpedwri", []
    labels = folder / "folder_structure" / "yolov5" / "labels"
    labels.mkdir(parents=True)
    text = "8 0.1 0.1 0.1 0.05\n"

    def film(stem, patient, lines, sick=False, **flags):
        part = folder / f"images_part{1 + len(rows) % 2}"
        part.mkdir(exist_ok=True)
        pixels = noise(len(rows), (100, 64), np.uint16) * 200
        PIL.Image.fromarray(spot(pixels, GRAZ_BOX, 65000) if sick else pixels).save(part / f"{stem}.png")
        if lines is not None:
            (labels / f"{stem}.txt").write_text(lines)
        row = dict.fromkeys(GRAZ_COLUMNS, "") | {"filestem": stem, "patient_id": patient} | flags
        rows.append([row[name] for name in GRAZ_COLUMNS])

    for number in range(healthy):
        film(f"{number:04d}_0001_01_WRI-L1_F010", number, text if number % 4 else None)
    x0, y0, x1, y1 = GRAZ_BOX
    fracture = f"3 {(x0 + x1) / 2 / 64} {(y0 + y1) / 2 / 100} {(x1 - x0) / 64} {(y1 - y0) / 100}\n"
    film("broken", 900, text + fracture, sick=True, fracture_visible="1", ao_classification="23-M/3.1")
    film("broken_other_day", 900, text)
    film("beyond", 901, "5 0.95 0.5 0.2 0.1\n4 0.5 0.5 0.1 0.1\n")
    film("cast", 902, text, cast="1")
    film("doubt", 903, text, diagnosis_uncertain="1.0")
    rows.append(["away", 904, *[""] * (len(GRAZ_COLUMNS) - 2)])
    PIL.Image.fromarray(noise(1, (100, 64))).save(folder / "images_part1" / "unlisted.png")
    write_csv(folder / "dataset.csv", GRAZ_COLUMNS, rows)
    return folder


def covid_radiography(root, normals=HEALTHY):
    """Films with lung masks of another size."""
    folder = root / "COVID-19_Radiography_Dataset"
    for kind, count in (("Normal", normals), ("COVID", 3), ("Lung_Opacity", 2), ("Viral Pneumonia", 2)):
        for sub, side in (("images", 60), ("masks", 52)):
            (folder / kind / sub).mkdir(parents=True)
            for number in range(1, count + 1):
                pixels = noise((len(kind), side, number), (side, side))
                PIL.Image.fromarray(pixels).save(folder / kind / sub / f"{kind}-{number}.png")
    return folder


RSNA_BOX = (8, 20, 30, 50)


def rsna(root, normals=HEALTHY, mapped=True):
    """Films as DICOM, the two tables, and RSNA's table of who is who."""
    folder, labels, classes, table = root / "rsna", [], [], []
    for part in ("stage_2_train_images", "stage_2_test_images"):
        (folder / part).mkdir(parents=True)

    def film(name, patient, kind, boxes=(), part="train"):
        pixels = noise(len(table), (64, 64))
        for box in boxes[:1]:
            spot(pixels, box)
        write_dicom(
            folder / f"stage_2_{part}_images" / f"{name}.dcm",
            pixels,
            SOPClassUID=SecondaryCaptureImageStorage,
            SOPInstanceUID=f"1.2.276.{len(table) + 1}",
            Modality="CR",
            BodyPartExamined="CHEST",
            PatientID=name,
            PatientOrientation="",
            ViewPosition="PA",
        )
        table.append({"subset_img_id": name, "img_id": f"{patient:08d}_000.png", "SOPInstanceUID": "1"})
        if part == "train":
            found = [[x0, y0, x1 - x0, y1 - y0, 1] for x0, y0, x1, y1 in boxes] or [["", "", "", "", 0]]
            labels.extend([name, *row] for row in found)
            classes.extend([name, kind] for _ in found)

    for number in range(normals):
        film(f"n{number}", number // 2, "Normal")
    film("sick", 500, "Lung Opacity", [RSNA_BOX, (40, 20, 55.5, 50)])
    film("sick_once_healthy", 500, "Normal")
    film("other", 501, "No Lung Opacity / Not Normal")
    film("hidden", 502, "", part="test")
    labels.append(["away", "", "", "", "", 0])
    classes.append(["away", "Normal"])
    write_csv(folder / "stage_2_train_labels.csv", ["patientId", "x", "y", "width", "height", "Target"], labels)
    write_csv(folder / "stage_2_detailed_class_info.csv", ["patientId", "class"], classes)
    if mapped:
        (folder / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(table))
    return folder


SETS = {
    "ixi": ixi,
    "fastmri": fastmri,
    "atlas": atlas,
    "grazpedwri": grazpedwri,
    "covid_radiography": covid_radiography,
    "rsna": rsna,
}
"""By name, from a data root to the set's folder in it."""
