"""What the proxy costs, beside others, on this machine: `make bench`."""
