"""Figures: each function takes data and returns a matplotlib figure, and shows nothing itself.

``from minicnn import plots`` imports matplotlib; ``import minicnn`` does not. A notebook shows the
figure at the end of a cell; ``figure.savefig("figure.png")`` writes it to a file. All are drawn on
opaque white, in colours that everyone can tell apart.
"""

from minicnn.plots.charts import confusion_matrix, learning_curves, reliability
from minicnn.plots.journey import decision, window, winners
from minicnn.plots.network import feature_maps, filters
from minicnn.plots.reading import readings
from minicnn.plots.tiles import augmentation_grid, image_grid, worst_mistakes

__all__ = [
    "augmentation_grid",
    "confusion_matrix",
    "decision",
    "feature_maps",
    "filters",
    "image_grid",
    "learning_curves",
    "readings",
    "reliability",
    "window",
    "winners",
    "worst_mistakes",
]
