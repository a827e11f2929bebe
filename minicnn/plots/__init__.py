"""Figures: each function takes data and returns a matplotlib figure, and shows nothing itself.

``from minicnn import plots`` imports matplotlib; ``import minicnn`` does not. A notebook shows the
figure at the end of a cell; ``figure.savefig("figure.png")`` writes it to a file. All are drawn on
opaque white, in colors that everyone can tell apart.
"""

from minicnn.plots.curves import confusion_matrix, learning_curves, reliability_diagram
from minicnn.plots.image_grid import augmentation_grid, image_grid, worst_mistakes
from minicnn.plots.network import feature_maps, filters
from minicnn.plots.predictions import predictions
from minicnn.plots.trace import conv_window, logit_contributions, pool_argmax

__all__ = [
    "augmentation_grid",
    "confusion_matrix",
    "conv_window",
    "feature_maps",
    "filters",
    "image_grid",
    "learning_curves",
    "logit_contributions",
    "pool_argmax",
    "predictions",
    "reliability_diagram",
    "worst_mistakes",
]
