"""`python -m tykky`, the same as the console script."""

from tykky.cli.main import main

main()
