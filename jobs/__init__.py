"""earnbook.jobs: the command line. One command per module; options in, one call, one report out."""
