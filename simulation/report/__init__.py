"""One HTML page that says what an experiment found, with its doubts."""

from simulation.report.data import CHOSEN, ArmFacts, Gallery, ReportData, SiteFacts
from simulation.report.gallery import draw_gallery
from simulation.report.report import write_report

__all__ = ["CHOSEN", "ArmFacts", "Gallery", "ReportData", "SiteFacts", "draw_gallery", "write_report"]
