"""Data sets: MNIST in full, an embedded sample, and the IDX file format."""
