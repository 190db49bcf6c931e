"""Documents that cross a process boundary."""
