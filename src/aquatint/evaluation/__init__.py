"""Measuring codecs: metrics, and how well they agree with people."""
