"""How a network's segmentation changes as its input is disturbed: points, curves, and the folder that holds them."""
