"""TOML files: read with every problem named at its line, written whole or not at all.

Serves the spec, the lockfile and the site settings alike; it knows none of them. A caller hands in the model
to fill (a msgspec struct, the only truth about keys and types) and the class of error to raise.
"""

from tykky.toml.document import Document, FileError, dotted, parse, read_text
from tykky.toml.files import refusal, replace_bytes, replace_text
from tykky.toml.mismatch import Mismatch, mismatches
from tykky.toml.positions import KeyPath, spans
from tykky.toml.strict import convert, without

__all__ = [
    "Document",
    "FileError",
    "KeyPath",
    "Mismatch",
    "convert",
    "dotted",
    "mismatches",
    "parse",
    "read_text",
    "refusal",
    "replace_bytes",
    "replace_text",
    "spans",
    "without",
]
