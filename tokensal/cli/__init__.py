"""The command line; `main` is the `tokensal` command."""

from tokensal.cli.app import main

__all__ = ["main"]
