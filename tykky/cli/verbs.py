"""The group of lazily loaded verbs, as click has it: for help, mistakes, and words that are not plain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tykky import __version__
from tykky.cli.clicks import declared, real_click
from tykky.cli.main import VERBS

if TYPE_CHECKING:
    from click import Command, Group
    from rich_click import rich_config

    _library = click
else:
    _library = real_click()
    # rich's pages, if one of them is going to be drawn
    Command = getattr(_library, "RichCommand", _library.Command)
    Group = getattr(_library, "RichGroup", _library.Group)
    rich_config = getattr(_library, "rich_config", lambda **settings: lambda command: command)


class _Verbs(Group):
    """Knows all verbs by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        if ctx.invoked_subcommand is None and ctx.info_name == "tykky" and _only_listing(ctx.obj):
            return Command(name=cmd_name, help=VERBS[cmd_name][1])
        return declared(cmd_name).command()

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:  # noqa: ANN401 - click's own type
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            close = get_close_matches(args[0], VERBS, n=1) if args else []
            hint = f"did you mean 'tykky {close[0]}'?" if close else "see 'tykky --help'"
            raise click.UsageError(f"{error.message.rstrip('.')} ({hint})", ctx) from None


def _only_listing(words: list[str]) -> bool:
    return not words or words[0] in ("--help", "-h")


@_library.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@rich_config(help_config={"text_paragraph_linebreaks": "\n\n"})
@_library.version_option(__version__, prog_name="tykky", message="%(prog)s %(version)s")
def tykky() -> None:
    """Locked Python environments in a few squashfs images.

    tykky.toml (people write it) -> tykky lock -> tykky.lock (in git) -> tykky build -> MyEnv/bin/python
    """


def place_usage(error: click.UsageError, verb: str, command: click.Command) -> None:
    """Give a usage error that a verb raised its place, as click does for the verbs that it calls."""
    if error.ctx is None:
        above = click.Context(tykky, info_name="tykky", help_option_names=["-h", "--help"])
        error.ctx = click.Context(command, parent=above, info_name=verb)
