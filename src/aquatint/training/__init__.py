"""Training of what ships with the codecs."""
