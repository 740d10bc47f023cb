"""The project itself: how it is packaged, set up, checked and documented."""
