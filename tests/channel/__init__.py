"""A real conda channel, made by the tests from what is on this machine.

channel = Channel(tmp_path / "channel").add(CondaPackage("hello", "1.0")).index()
root = standard_channel(tmp_path / "channel")
with serve(root) as server:
    server.url, server.switches.status = 404
"""

from tests.channel.index import Channel
from tests.channel.package import PLACEHOLDER, CondaPackage, File, Link, Member, script, text
from tests.channel.server import Served, serve
from tests.channel.standard import standard_channel

__all__ = [
    "PLACEHOLDER",
    "Channel",
    "CondaPackage",
    "File",
    "Link",
    "Member",
    "Served",
    "script",
    "serve",
    "standard_channel",
    "text",
]
