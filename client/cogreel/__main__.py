"""`python -m cogreel` is the command `cogreel`."""

from cogreel.cli import main

main()
