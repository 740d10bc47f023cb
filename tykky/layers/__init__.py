"""Lock to layers: the plan, keys, one module per kind, tree normalising, squashfs."""
