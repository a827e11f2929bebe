"""What a network does with one image, number by number: forward, backward, and one update."""
