"""`python -m client`: the `vader` command."""

from client.cli import main

main()
