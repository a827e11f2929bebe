"""Layers: objects that hold parameters and call an op pair."""
