"""Where editors find the JSON schema of tykky.toml. `schemas/generate.py` writes it from the model."""

SCHEMA_URL = "https://raw.githubusercontent.com/tykky/tykky/main/schemas/tykky.schema.json"

# What taplo and its editors look for in a TOML file's first lines.
SCHEMA_COMMENT = f"#:schema {SCHEMA_URL}"
