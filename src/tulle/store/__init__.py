"""What is remembered: revisions; SQLite."""
