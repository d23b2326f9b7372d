"""Small DICOM files for tests of several packages."""

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
)

FILM = np.arange(12 * 8, dtype=np.uint16).reshape(12, 8) * 10
MONO1 = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
CT = {"SOPClassUID": CTImageStorage, "Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}


def item(**tags):
    """A dataset, as an item of a sequence."""
    ds = Dataset()
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds


def write_dicom(path, pixels=FILM, syntax=ExplicitVRLittleEndian, frames=None, without=(), **tags):
    """A plain radiograph of `pixels`, save what `tags` say: a tag that is None is empty, one in `without` is missing.

    `frames` are compressed ones.
    """
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = "1.2.3"
    ds.Modality, ds.PatientName, ds.PatientID = "DX", "Secret^Name", " SecretId "
    ds.Rows, ds.Columns, ds.SamplesPerPixel = *pixels.shape[-2:], 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = pixels.itemsize * 8
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes() if frames is None else encapsulate(frames)
    for name, value in tags.items():
        setattr(ds, name, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    for name in without:
        del ds[name]
    ds.save_as(path, enforce_file_format=True)
    return path


def write_enhanced(path, pixels, heights=None, slopes=None, **tags):
    """An enhanced MR of `pixels` (frames, H, W) whose frames lie at `heights` in mm, scaled by `slopes`."""
    groups = []
    for frame in range(len(pixels)):
        group = item()
        if heights is not None:
            group.PlanePositionSequence = [item(ImagePositionPatient=[0, 0, heights[frame]])]
        if slopes is not None:
            scale = item(RescaleSlope=slopes[frame], RescaleIntercept=0, RescaleType="US")
            group.PixelValueTransformationSequence = [scale]
        groups.append(group)
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.25])],
    )
    defaults = {
        "SOPClassUID": EnhancedMRImageStorage,
        "Modality": "MR",
        "NumberOfFrames": len(pixels),
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": groups,
    }
    return write_dicom(path, pixels, **{**defaults, **tags})
