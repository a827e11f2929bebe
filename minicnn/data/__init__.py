"""Images to learn from: MNIST, its embedded sample, any data set in its format, and variations."""
