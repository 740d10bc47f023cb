"""TOML files: read with every problem named at its line, written whole or not at all.

Serves the spec, the lockfile and the site settings alike; it knows none of them. A caller hands in the model
to fill (a msgspec struct, the only truth about keys and types) and the class of error to raise.

    document.py     a text, its values, where they stand
    strict.py       fill a model, or name what it does not take (mismatch.py finds all of it)
    files.py        write a file whole or not at all
    positions.py    the line and the offsets of each value

Who needs one of them imports it from its own module: reading must not wait for the imports of writing.
"""
