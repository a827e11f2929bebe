"""Networks: layers in sequence, their parameters and their summary."""
