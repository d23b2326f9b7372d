"""What each metric means, in one line for people."""

__all__ = ["METRICS"]

METRICS = {
    "pixel_auprc": (
        "Pixel AUPRC",
        "how well the map marks the lesion's pixels and no others: area under precision over recall, 1 at best; a "
        "guessing map has the share of lesion pixels, which is often only a few percent",
    ),
    "pixel_auroc": (
        "Pixel AUROC",
        "how likely a lesion pixel has a higher map value than another pixel; flatters, since most pixels are easy",
    ),
    "dice": (
        "Dice",
        "overlap of the lesion with the pixels above the threshold set on healthy validation pixels, 1 at best",
    ),
    "oracle_dice": (
        "Oracle Dice",
        "the highest Dice over all thresholds; looks at the labels, so nobody can have it in practice",
    ),
    "box_auroc": (
        "Box AUROC",
        "how likely a pixel in a box around an anomaly has a higher map value than one outside all boxes of the image: "
        "1 at best, 0.5 is chance",
    ),
    "box_f1": (
        "Box F1 (the authors')",
        "a box counts if more than 10 % of it are above the threshold set on healthy validation pixels, less for what "
        "is marked outside; depends on the size of the map's values, so compare it within one scoring only",
    ),
    "box_f1_scale_free": (
        "Box F1, scale-free",
        "the same, with what is marked outside measured by what is marked inside",
    ),
    "box_recall": ("Box recall", "share of the boxes of which more than 10 % are above that threshold"),
    "box_precision": ("Box precision (the authors')", "their precision, averaged over boxes"),
    "auroc": (
        "Image AUROC",
        "how likely a sick image scores higher than a healthy one of the same site: 1 at best, 0.5 is chance",
    ),
    "auprc": (
        "Image AUPRC",
        "precision averaged over recall when images are called sick from the highest score down; chance is the share "
        "of sick images",
    ),
    "detection_rate": (
        "Detection rate",
        "share of sick images whose score is above the threshold set on healthy validation images",
    ),
    "false_alarm_rate": (
        "False alarm rate",
        "share of healthy images above that same threshold; the lower, the better",
    ),
    "ssim": ("SSIM", "likeness in structure of a healthy image and its reconstruction, 1 at best"),
    "lpips": ("LPIPS", "difference of a healthy image and its reconstruction to a pretrained network, 0 at best"),
    "squared_error": (
        "Squared error",
        "mean squared difference by pixel of a healthy image and its reconstruction, 0 at best",
    ),
}
"""Title and meaning by name; the order of the page."""
