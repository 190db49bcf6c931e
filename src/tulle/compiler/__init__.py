"""Model and node facts in, Snapshot and Plan out; pure and deterministic."""
