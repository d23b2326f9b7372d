"""How well anomalies are found and images reconstructed, each number with its counts and its patient-level interval."""

from ra_core.metrics.bootstrap import Estimate, Resampling, average
from ra_core.metrics.boxes import box_level
from ra_core.metrics.detection import (
    dice,
    image_auprc,
    image_auroc,
    pixel_level,
)
from ra_core.metrics.means import detection_rate, false_alarm_rate, mean_estimate
from ra_core.metrics.reconstruction import inside_and_outside, ssim, ssim_maps

__all__ = [
    "Estimate",
    "Resampling",
    "average",
    "box_level",
    "detection_rate",
    "dice",
    "false_alarm_rate",
    "image_auprc",
    "image_auroc",
    "inside_and_outside",
    "mean_estimate",
    "pixel_level",
    "ssim",
    "ssim_maps",
]
