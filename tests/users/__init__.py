"""Environments of several people: staff, alice, bob and a hostile one, on one machine, each with real ids."""
