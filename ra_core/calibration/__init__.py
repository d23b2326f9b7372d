"""What one site keeps beside a model to score with it, how that is made, and whether it still fits."""

from ra_core.calibration.record import Calibration, load_calibration, save_calibration

__all__ = ["Calibration", "load_calibration", "save_calibration"]
