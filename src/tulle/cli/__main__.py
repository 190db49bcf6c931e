"""`python -m tulle.cli`: the same as `tulle`."""

from tulle.cli.main import main

main()
