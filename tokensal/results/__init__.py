"""Results: what a method says of an answer, as data that can be shown, saved and loaded."""
