import hashlib

import numpy as np
from sklearn.metrics import roc_auc_score

from simulation.cohort import CohortConfig, HospitalConfig, virtual_patient
from simulation.cohort.lesions import KINDS, STRENGTHS

HOSPITAL = HospitalConfig(name="h", contrast="t1")
CONFIG = CohortConfig(hospitals=(HOSPITAL,), size=64, seed=5)


def test_a_patient_does_not_depend_on_other_hospitals_or_patients():
    alone = virtual_patient(CONFIG, HOSPITAL, "train", 3)
    crowd = CohortConfig(hospitals=(HospitalConfig(name="g", contrast="ct"), HOSPITAL), size=64, seed=5)
    larger = HOSPITAL.model_copy(update={"train": 9999})
    for config, hospital in ((crowd, HOSPITAL), (CONFIG, larger)):
        np.testing.assert_array_equal(virtual_patient(config, hospital, "train", 3).image, alone.image)


def test_pixels_are_the_same_on_every_processor():
    """In float32 they were not. At 16 bits, since of 8 an error of rounding shows in one image of fifteen."""
    digest = hashlib.sha256()
    for contrast in ("t1", "t2", "flair", "ct"):
        hospital = HospitalConfig(name="h", contrast=contrast)
        for index in range(6):
            image = virtual_patient(CONFIG, hospital, "test_anomalous", index).image
            digest.update(np.rint(image * 65535).astype("<u2").tobytes())
    assert digest.hexdigest() == "72e7b5f98ca90003f708762165d7a0832ff297dbbd9c6edb494b9460941a7196"


def test_patients_groups_and_seeds_differ():
    patient = virtual_patient(CONFIG, HOSPITAL, "train", 0)
    other_seed = CONFIG.model_copy(update={"seed": 6})
    for other in (
        virtual_patient(CONFIG, HOSPITAL, "train", 1),
        virtual_patient(CONFIG, HOSPITAL, "val", 0),
        virtual_patient(other_seed, HOSPITAL, "train", 0),
    ):
        assert np.abs(other.healthy - patient.healthy).mean() > 0.01


def test_healthy_patients_have_no_lesion():
    patient = virtual_patient(CONFIG, HOSPITAL, "test_healthy", 0)
    assert patient.lesion is None
    assert patient.sick is patient.healthy


def test_every_kind_comes_in_every_strength():
    lesions = [virtual_patient(CONFIG, HOSPITAL, "test_anomalous", index).lesion for index in range(18)]
    assert {(lesion.kind, lesion.strength) for lesion in lesions} == {(k, s) for k in KINDS for s in STRENGTHS}


def test_test_groups_differ_by_nothing_but_the_lesion():
    healthy = [virtual_patient(CONFIG, HOSPITAL, "test_healthy", index).healthy for index in range(150)]
    twins = [virtual_patient(CONFIG, HOSPITAL, "test_anomalous", index).healthy for index in range(150)]
    labels = [0] * 150 + [1] * 150
    for feature in (np.mean, np.max, np.std, lambda image: (image > 0.2).sum()):
        assert abs(roc_auc_score(labels, [feature(image) for image in healthy + twins]) - 0.5) < 0.11  # 3.3 deviations
