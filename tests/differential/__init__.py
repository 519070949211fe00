"""Engines against each other, on random programs and logs."""
