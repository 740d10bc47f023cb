"""One process at a time, on any file system and between hosts: a guard is a file, published by a hard link.

    from tykky.guard.hold import guarded

    with guarded(directory / "guard", f"build of {directory}", wait=True, say=reporter.note):
        ...

Neither flock nor fcntl is used (decision 0007): a mount may lack them on one host and have them on another, and two
mechanisms would not exclude each other. What counts is that the guard's name is there. Who is behind it stands in it
(`holder.py`), a holder that other hosts cannot look at touches it now and then, and of those who find it left behind
exactly one removes it (`files.py`).
"""
