"""A small shop that knows nothing of a mesh."""
