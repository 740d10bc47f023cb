"""Choosing artifacts from Python package indexes: two programs behind one interface.

    uv.py          UvResolver: uv resolves for any platform, without its interpreter
    piptools.py    PipToolsResolver: pip's own resolver, for the host's own platform

Both write the request down as requirement files (`question`), run their program, and turn its answer into locked
packages (`answer`); what went wrong is told in our words (`trouble`). What conda provides is shown to them as wheels
that hold nothing but a name and a version (`provided`).
"""
