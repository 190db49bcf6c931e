"""Strict HTTP codecs without I/O, and a small server for control sockets."""
