"""The control plane of a node."""
