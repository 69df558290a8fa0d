"""Heatmaps as text, for terminals and .txt files."""
