"""Figures: each function takes data and returns a matplotlib figure.

``from minicnn import plots`` imports matplotlib; ``import minicnn`` does not. A notebook shows the
figure at the end of a cell; ``figure.savefig("figure.png")`` writes it to a file. All figures have
an opaque white background and colors for color-blind readers. With a model and a data set::

    from minicnn import metrics, plots

    probabilities = model.predict_proba(data.test_images)
    predicted = probabilities.argmax(axis=1)
    matrix = metrics.confusion_matrix(data.test_labels, predicted, num_classes=10)
    print(metrics.classification_report(matrix))
    plots.confusion_matrix(matrix).savefig("confusion-matrix.png")
    plots.worst_mistakes(data.test_images, data.test_labels, probabilities).savefig("mistakes.png")
"""

from minicnn.plots.curves import confusion_matrix, learning_curves, reliability_diagram
from minicnn.plots.images import augmentation_grid, image_grid, predictions, worst_mistakes
from minicnn.plots.network import (
    conv_window,
    feature_maps,
    filters,
    logit_contributions,
    pool_argmax,
)

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
