"""What a study's finished cells amount to: a page, the same tables as Markdown, and all numbers as CSV."""

from simulation.grid.page.data import Sites, StudyData
from simulation.grid.page.write import PAGE, RESULTS, TABLES, write_study

__all__ = ["PAGE", "RESULTS", "TABLES", "Sites", "StudyData", "write_study"]
