"""Locked Python environments in a few squashfs images."""

__version__ = "0.1.0"
