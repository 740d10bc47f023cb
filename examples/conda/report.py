"""Writes a small report from a template: MyEnv/bin/python report.py --title "Run 7" 1.5 2.5."""

import os
import statistics

import click
import jinja2

TEMPLATE = """\
{{ title }}
{{ "=" * title|length }}

by {{ author }}: {{ values|length }} values, mean {{ "%.2f"|format(mean) }}
"""


@click.command()
@click.option("--title", default="Report", show_default=True)
@click.argument("values", nargs=-1, type=float, required=True)
def main(title: str, values: tuple[float, ...]) -> None:
    """Write a report about VALUES."""
    template = jinja2.Template(TEMPLATE, undefined=jinja2.StrictUndefined)
    author = os.environ.get("REPORT_AUTHOR", "nobody")
    click.echo(template.render(title=title, author=author, values=values, mean=statistics.mean(values)))


if __name__ == "__main__":
    main()
