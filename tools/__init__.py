"""What `make` runs: setting up, the demo, and the pages made from the code."""
