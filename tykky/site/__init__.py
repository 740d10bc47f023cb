"""What one site, and one user, has set in `site.toml`; and where Tykky's cache is."""
