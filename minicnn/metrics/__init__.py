"""How good the answers of a classifier are: measures of right, wrong and certainty.

Everything that counts right and wrong follows from one matrix: ``matrix = confusion_matrix(...)``,
then `class_scores`, `macro_average` and `classification_report` of it. What looks at the
probabilities (`top_k_accuracy`, `calibration`) takes those of ``model.predict_proba``.
"""

from minicnn.metrics.certainty import Calibration, calibration, top_k_accuracy
from minicnn.metrics.confusion import (
    ClassScores,
    MacroAverage,
    accuracy,
    class_scores,
    classification_report,
    confusion_matrix,
    macro_average,
    row_shares,
)

__all__ = [
    "Calibration",
    "ClassScores",
    "MacroAverage",
    "accuracy",
    "calibration",
    "class_scores",
    "classification_report",
    "confusion_matrix",
    "macro_average",
    "row_shares",
    "top_k_accuracy",
]
