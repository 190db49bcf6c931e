"""Tulle: the light service mesh for the edge."""
