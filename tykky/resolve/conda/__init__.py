"""Conda channels: two resolvers, and what both (and the conda layer) need to reach channels and archives.

`channels` names things, `network` asks, `records` is the one place where rattler's records and the lock's packages
meet. Nothing here reads a user's .condarc, pixi or rattler settings; credentials come from rattler's usual file.
"""
