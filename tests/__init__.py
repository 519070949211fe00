"""The tests of earnbook: one folder per package, and what spans them."""
