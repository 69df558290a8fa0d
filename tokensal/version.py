"""The version: of the package, and in every result."""

__version__ = "0.1.0"
