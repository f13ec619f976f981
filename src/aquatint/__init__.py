"""Aquatint: an image codec for photographs at very low rates."""
