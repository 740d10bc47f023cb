"""`tykky.lock`: the model, reading and writing, and whether it still answers the spec."""
