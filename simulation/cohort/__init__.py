"""Virtual hospitals: brain slices with real anatomy, each hospital's own contrast, and exact lesion masks."""

from simulation.cohort.config import CohortConfig, HospitalConfig
from simulation.cohort.patient import VirtualPatient, virtual_patient
from simulation.cohort.write import write_cohort

__all__ = ["CohortConfig", "HospitalConfig", "VirtualPatient", "virtual_patient", "write_cohort"]
