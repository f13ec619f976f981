"""What is trained against each other: discriminators, and the losses of both sides, for all codecs."""
