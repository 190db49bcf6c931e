"""Tulle: the light service mesh for the edge."""

__version__ = "0.1.0"
