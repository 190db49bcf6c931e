"""A compose file → a mesh file, and a list of all that could not be carried over."""

from tulle.manifest.compose.convert import Imported, convert
from tulle.manifest.compose.ledger import Fate, Note
from tulle.manifest.compose.surroundings import Surroundings

__all__ = ["Fate", "Imported", "Note", "Surroundings", "convert"]
