"""Weights published in other formats, rewritten as the folders that base models and rewards load."""
