"""Differential privacy of patients: settings, random bits, a patient's bounded part in a step, what steps amount to."""
