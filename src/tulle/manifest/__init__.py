"""YAML → model, with every problem at its file and line; the mesh file → resources; resources → YAML."""

from tulle.manifest.dump import dump
from tulle.manifest.read import Loaded, home_of, load, parse, texts

__all__ = ["Loaded", "dump", "home_of", "load", "parse", "texts"]
