"""What this host can mount with, one module per backend, and running programs inside."""
