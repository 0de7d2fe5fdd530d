"""Local servers from wheels, and the demo on them."""
