"""Rater studies: which of two pictures is closer to the original? From the folder of pictures to Elo with intervals."""
