"""Figures: each function takes data and returns a matplotlib figure, and shows nothing itself.

``from minicnn import plots`` imports matplotlib; ``import minicnn`` does not. A notebook shows the
figure at the end of a cell; ``figure.savefig("figure.png")`` writes it to a file. All are drawn on
opaque white, in colours that everyone can tell apart.
"""

from minicnn.plots.reading import readings

__all__ = ["readings"]
