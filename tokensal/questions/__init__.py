"""What is asked of an answer: which targets, which sources, credited in which units."""
