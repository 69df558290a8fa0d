"""`python -m tokensal` is the `tokensal` command."""

from tokensal.cli import main

main()
