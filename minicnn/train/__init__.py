"""Training: `fit`, its configuration, gradient, state and checkpoints."""
