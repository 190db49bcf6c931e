"""The data plane: every byte and every decision; no capability, no files."""
