"""`tykky.toml`: the model, strict reading with good errors, and edits that keep comments."""
