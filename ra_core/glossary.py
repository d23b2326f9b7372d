"""What the names in results mean, each in a line for people and with its source. Needs no torch."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["METRICS", "SCORINGS_TOLD", "SHORTCUT", "SHORTCUTS_TOLD", "Term"]

SHORTCUT = "shortcut"
"""`method` of the rows of all shortcuts; which one it is, is their `scoring`."""


class Term(NamedTuple):
    """A name's explanation.

    Attributes:
        title: as tables have it.
        meaning: in a line.
        source: where it comes from.
    """

    title: str
    meaning: str
    source: str


OURS = "this project, docs/method.md"
RA = "Bercea et al. 2024, arXiv 2401.10637"
BOXES = "the RA authors' code (ci-ber/RA @9b7a255)"
HEALING = "Bercea et al. 2025, Nat. Commun. 16:1624: what its index of conservation and correction is made of"
LPIPS = "Zhang et al. 2018 (LPIPS), arXiv 1801.03924"

METRICS = {
    "pixel_auprc": Term(
        "Pixel AUPRC",
        "how well the map marks the lesion's pixels and no others: area under precision over recall, 1 at best; a "
        "guessing map has the share of lesion pixels, which is often only a few percent",
        "average precision; Davis and Goadrich 2006",
    ),
    "pixel_auroc": Term(
        "Pixel AUROC",
        "how likely a lesion pixel has a higher map value than another pixel; flatters, since most pixels are easy",
        "Hanley and McNeil 1982",
    ),
    "dice": Term(
        "Dice",
        "overlap of the lesion with the pixels above the threshold set on healthy validation pixels, 1 at best",
        "Dice 1945; the threshold: " + OURS,
    ),
    "oracle_dice": Term(
        "Oracle Dice",
        "the highest Dice over all thresholds; looks at the labels, so nobody can have it in practice",
        "Baur et al. 2021, arXiv 2004.03271",
    ),
    "box_auroc": Term(
        "Box AUROC",
        "how likely a pixel in a box around an anomaly has a higher map value than one outside all boxes of the image: "
        "1 at best, 0.5 is chance",
        OURS,
    ),
    "box_f1": Term(
        "Box F1 (the authors')",
        "a box counts if more than 10 % of it are above the threshold set on healthy validation pixels, less for what "
        "is marked outside; depends on the size of the map's values, so compare it within one scoring only",
        BOXES,
    ),
    "box_f1_scale_free": Term(
        "Box F1, scale-free",
        "the same, with what is marked outside measured by what is marked inside",
        OURS,
    ),
    "box_recall": Term("Box recall", "share of the boxes of which more than 10 % are above that threshold", BOXES),
    "box_precision": Term("Box precision (the authors')", "their precision, averaged over boxes", BOXES),
    "auroc": Term(
        "Image AUROC",
        "how likely a sick image scores higher than a healthy one of the same site: 1 at best, 0.5 is chance",
        "Mann and Whitney 1947; Hanley and McNeil 1982",
    ),
    "auprc": Term(
        "Image AUPRC",
        "precision averaged over recall when images are called sick from the highest score down; chance is the share "
        "of sick images",
        "average precision; Davis and Goadrich 2006",
    ),
    "detection_rate": Term(
        "Detection rate",
        "share of sick images whose score is above the threshold set on healthy validation images",
        "sensitivity; the threshold: " + OURS,
    ),
    "false_alarm_rate": Term(
        "False alarm rate",
        "share of healthy images above that same threshold; the lower, the better",
        "1 - specificity; the threshold: " + OURS,
    ),
    "false_alarm_rate_local": Term(
        "False alarm rate, local threshold",
        "share of healthy patients above their site's own conformal threshold, set on its healthy validation patients",
        "Lei et al. 2018, Distribution-Free Predictive Inference for Regression",
    ),
    "false_alarm_rate_pooled": Term(
        "False alarm rate, pooled threshold",
        "the same with one conformal threshold for all sites, set on all trained sites' patients together",
        "Lei et al. 2018, Distribution-Free Predictive Inference for Regression",
    ),
    "false_alarm_rate_shrunken": Term(
        "False alarm rate, shrunken threshold",
        "the same with a threshold between the site's own and what all sites' patients say; without a guarantee",
        "credibility: Bühlmann 1967; its use here: " + OURS,
    ),
    "ssim": Term(
        "SSIM", "likeness in structure of a healthy image and its reconstruction, 1 at best", "Wang et al. 2004"
    ),
    "ssim_lesion": Term(
        "SSIM in lesions",
        "likeness in structure of a sick image and its pseudo-healthy twin inside lesions, which should be gone: the "
        "lower, the better, where SSIM elsewhere is high",
        HEALING,
    ),
    "ssim_rest": Term(
        "SSIM elsewhere in sick images",
        "the same outside lesions, where nothing should have changed, 1 at best",
        HEALING,
    ),
    "squared_error_lesion": Term(
        "Squared error in lesions",
        "mean squared difference by pixel of a sick image and its pseudo-healthy twin inside lesions, which should be "
        "gone: the higher, the better, where the squared error elsewhere is low",
        HEALING,
    ),
    "squared_error_rest": Term(
        "Squared error elsewhere in sick images",
        "the same outside lesions, where nothing should have changed, 0 at best",
        HEALING,
    ),
    "lpips_lesion": Term(
        "LPIPS in lesions",
        "difference to a pretrained network of a sick image and its pseudo-healthy twin, by pixel inside lesions: "
        "the higher, the better, where LPIPS elsewhere is low",
        HEALING,
    ),
    "lpips_rest": Term(
        "LPIPS elsewhere in sick images",
        "the same outside lesions, where nothing should have changed, 0 at best",
        HEALING,
    ),
    "lpips": Term(
        "LPIPS", "difference of a healthy image and its reconstruction to a pretrained network, 0 at best", LPIPS
    ),
    "squared_error": Term(
        "Squared error",
        "mean squared difference by pixel of a healthy image and its reconstruction, 0 at best",
        "mean squared error",
    ),
}
"""Metrics by name; the order of the page."""

SCORINGS_TOLD = {
    "paper": Term("RA's", "contrast-equalised residual × LPIPS map × LPIPS map after equalising; mean of pixels", RA),
    "clahe_residual": Term("equalised residual", "its first factor alone; mean of pixels", RA),
    "perceptual": Term("LPIPS map", "its second factor alone; mean of pixels", LPIPS),
    "clahe_perceptual": Term("equalised LPIPS map", "its third factor alone; mean of pixels", LPIPS),
    "residual": Term(
        "plain residual",
        "absolute difference of an image and its reconstruction; mean of pixels",
        "Baur et al. 2021, arXiv 2004.03271",
    ),
    "residual_top": Term("smoothed residual", "the plain residual, smoothed; mean of the highest 5 % of pixels", OURS),
    "standardised_residual": Term(
        "standardised residual",
        "the plain residual, smoothed, in spreads above what the site's healthy images show at a pixel; mean of pixels",
        OURS,
    ),
    "standardised_residual_top": Term(
        "standardised smoothed residual", "the same, smoother; mean of the highest 5 % of pixels", OURS
    ),
    "signed_residual_top": Term(
        "local signed residual",
        "image minus reconstruction, less what is wrong all around, smoothed before its sign is dropped, in spreads "
        "from what the site's healthy images show; mean of the highest 5 % of pixels",
        OURS,
    ),
    "standardised_perceptual": Term(
        "standardised LPIPS map", "the LPIPS map in spreads above the site's healthy images; mean of pixels", OURS
    ),
    "standardised_paper": Term(
        "standardised RA's", "RA's map in spreads above the site's healthy images; mean of pixels", OURS
    ),
    "distance": Term(
        "distance",
        "what a method without reconstruction measures itself at each place; mean of pixels",
        "the method's",
    ),
    "distance_top": Term("distance, highest", "the same; mean of the highest 5 % of pixels", OURS),
    "standardised_distance": Term(
        "standardised distance", "it, smoothed, in spreads above the site's healthy images; mean of pixels", OURS
    ),
    "standardised_distance_top": Term(
        "standardised distance, highest", "the same; mean of the highest 5 % of pixels", OURS
    ),
}
"""Scorings by name: those of reconstructions, then those of distances."""

SHORTCUTS_TOLD = {
    "brightness": Term("brightness", "mean grey of the image", OURS),
    "foreground": Term("foreground", "share of pixels above 0", OURS),
    "sharpness": Term("sharpness", "mean difference of a pixel and its 3 x 3 neighbourhood", OURS),
    "slice_height": Term(
        "slice height", "where in its volume a slice lies, from 0 to 1; known of files of several pictures alone", OURS
    ),
}
"""Shortcuts by name: numbers that may give a label away without any anomaly being seen."""
