"""The verbs, as a page of the reference and as a table, from the command line's own help."""

from __future__ import annotations

import inspect

import click

from tykky.cli.clicks import declared
from tykky.cli.main import VERBS


def verbs_table() -> str:
    """Return one row per verb, in the order of `tykky --help`."""
    rows = "".join(
        f"| [`{verb}`](docs/reference/cli.md#tykky-{verb}) | {text} |\n" for verb, (_, text) in VERBS.items()
    )
    return f"| verb | what it does |\n|---|---|\n{rows}"


def verbs_page() -> str:
    """Return the page: what all verbs share, then each verb with its options and examples."""
    sections = "\n".join(_section(verb, load_command(verb)) for verb in VERBS)
    return f"""# Command line

Made from `tykky --help` and `tykky VERB --help`; written by `make schemas`.

Results go to standard output, progress and errors to standard error. With `--json` both the result and an error are
JSON on standard output. Every verb ends with 0, or with the [exit code](exit-codes.md) of the error's class.

{sections}"""


def load_command(verb: str) -> click.Command:
    """Return a verb as click has it."""
    return declared(verb).command()


def _section(verb: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"tykky {verb}", help_option_names=["-h", "--help"])
    usage = " ".join(command.collect_usage_pieces(context))
    rows = "".join(_row(parameter, context) for parameter in command.get_params(context) if _is_shown(parameter))
    return f"""## tykky {verb}

    tykky {verb} {usage}

{_prose(command.help or "")}
| option | meaning |
|---|---|
{rows}"""


def _prose(help_text: str) -> str:
    r"""Return a help text as markdown: a paragraph after click's mark `\b` is shown as it was typed."""
    parts = []
    for paragraph in inspect.cleandoc(help_text).split("\n\n"):
        lines = paragraph.splitlines()
        if lines and lines[0] == "\b":
            title, *commands = lines[1:]
            parts.append(f"{title}\n\n" + "\n".join(f"    {line.strip()}" for line in commands))
        else:
            parts.append(" ".join(lines))
    return "\n\n".join(parts) + "\n"


def _is_shown(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and not parameter.hidden


def _row(parameter: click.Parameter, context: click.Context) -> str:
    record = parameter.get_help_record(context)
    assert record is not None, "only options that are shown come here"
    names, meaning = (text.replace("|", "\\|") for text in record)
    return f"| `{names}` | {' '.join(meaning.split())} |\n"
