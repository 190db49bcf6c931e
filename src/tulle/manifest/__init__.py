"""YAML to model; every problem with its place and a hint."""
