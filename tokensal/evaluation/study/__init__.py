"""A study: methods measured by metrics on many prompts, see `measuring`; it stands on the metrics and the suites."""
