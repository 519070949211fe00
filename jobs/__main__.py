"""`python -m earnbook.jobs`: the command line, where the `earnbook` script is not on the path."""

from earnbook.jobs.cli import main

main()
