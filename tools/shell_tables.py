"""The verbs, their options and what their arguments are, as tables that completion in a shell reads."""

from __future__ import annotations

from collections.abc import Iterator

import click

from tools.command_pages import load_command
from tykky.cli.main import VERBS
from tykky.cli.place_type import PlaceType

HEAD = "# Made from the command line by `make schemas`.\n"

# What an argument is: by the verb's and the parameter's name, else by the parameter's name alone.
_KINDS = {
    "directory": "environment",
    "directories": "directory",
    "name": "name",
    "number": "generation",
    "generation": "generation",
    "words": "program",
    "init directory": "directory",
    "doctor directory": "directory",
    "diff old": "generation",
    "diff new": "generation",
    "remove names": "required",
    "lock upgraded": "locked",
    "build prefix": "directory",
    "run others": "environment",
    "module output": "file",
    "module name": "",
    "init name": "",
    "init extends": "name",
}


def posix_table() -> str:
    """Return the table for bash and zsh: a function that sets four variables for a verb, or for none."""
    verbs = "\n".join(f"{verb}:{text}" for verb, (_, text) in VERBS.items())
    cases = "".join(_posix_case(verb, load_command(verb)) for verb in VERBS)
    return f"""{HEAD}#
# $1, a verb or nothing -> _tykky_words: what may stand there, one 'word:meaning' a line;
# _tykky_valued: ' option=kind' of each option with a value; _tykky_kinds: the kinds of the arguments in their order,
# the last one of which may come again if + follows it.
_tykky_table() {{
    _tykky_words= _tykky_valued= _tykky_kinds=
    case $1 in
    '') _tykky_words={_quoted(verbs)} ;;
{cases}    esac
}}
"""


def fish_table() -> str:
    """Return the table for fish: completions of verbs and options, and what arguments are."""
    lines = [f"complete -c tykky -n _tykky_no_verb -f -a {_fish(v)} -d {_fish(t)}" for v, (_, t) in VERBS.items()]
    kinds, valued = "", ""
    for verb in VERBS:
        command = load_command(verb)
        options = list(_options(command))
        lines += [_fish_option(verb, option) for option in options]
        kinds += _fish_case(verb, _kinds(verb, command))
        valued += _fish_case(verb, [name for option in options if not option.is_flag for name in _names(option)])
    return (
        f"{HEAD}\n# The kinds of a verb's arguments, in their order; the last one may come again if + follows it.\n"
        f"function _tykky_kinds\n    switch $argv[1]\n{kinds}    end\nend\n\n"
        f"# The options of a verb that take a value.\n"
        f"function _tykky_valued\n    switch $argv[1]\n{valued}    end\nend\n\n" + "\n".join(lines) + "\n"
    )


def _fish_case(verb: str, words: list[str]) -> str:
    listed = " ".join(_fish(word) for word in words)
    return f"        case {verb}\n            string join \\n -- {listed}\n" if words else ""


def _posix_case(verb: str, command: click.Command) -> str:
    words, valued = [], ""
    for option in _options(command):
        meaning = _meaning(option)
        words += [f"{name}:{meaning}" for name in _names(option)]
        if not option.is_flag:
            valued += "".join(f" {name}={_kind(verb, option)}" for name in _names(option))
    kinds = " ".join(kind or "-" for kind in _kinds(verb, command))
    return (
        f"    {verb})\n        _tykky_words={_quoted(chr(10).join(words))}\n"
        f"        _tykky_valued={_quoted(valued)}\n        _tykky_kinds={_quoted(kinds)}\n        ;;\n"
    )


def _fish_option(verb: str, option: click.Option) -> str:
    words = [f"complete -c tykky -n '_tykky_verb_is {verb}'"]
    for name in _names(option):
        words.append(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}")
    if not option.is_flag:
        kind = _kind(verb, option)
        words.append(f"-x -a '(_tykky_candidates \"{kind}\")'" if kind else "-x")
    return " ".join([*words, "-d", _fish(_meaning(option))])


def _options(command: click.Command) -> Iterator[click.Option]:
    context = click.Context(command, help_option_names=["-h", "--help"])
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield parameter


def _names(option: click.Option) -> list[str]:
    return [*option.opts, *option.secondary_opts]


def _kinds(verb: str, command: click.Command) -> list[str]:
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    return [_kind(verb, argument) + ("+" if argument.nargs == -1 else "") for argument in arguments]


def _kind(verb: str, parameter: click.Parameter) -> str:
    if isinstance(parameter.type, click.Choice):
        return "|".join(str(choice) for choice in parameter.type.choices)
    name = parameter.name or ""
    fallback = "file" if isinstance(parameter.type, PlaceType) else ""
    if isinstance(parameter, click.Option):
        return _KINDS.get(f"{verb} {name}", fallback)
    return _KINDS.get(f"{verb} {name}", _KINDS.get(name, fallback))


def _meaning(option: click.Option) -> str:
    return " ".join((option.help or "").split()).rstrip(".")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
