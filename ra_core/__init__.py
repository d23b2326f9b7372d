"""The method: model, losses, training, scoring, metrics and data. Knows no network and no Flower."""
