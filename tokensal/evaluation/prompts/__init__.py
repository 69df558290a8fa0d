"""Prompts to measure methods on: what one is, and how they are read from records of the user's own."""
