"""The keys of tykky.toml, tykky.lock and site.toml, as pages of the reference, from the models' JSON schemas."""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any, TypeAlias

import msgspec

from tykky.lock.model import Lock
from tykky.site.model import Settings
from tykky.spec.model import Spec

Schema: TypeAlias = dict[str, Any]


def spec_page() -> str:
    """Return the page about tykky.toml."""
    return _page("tykky.toml", "tykky.schema.json", Spec)


def lock_page() -> str:
    """Return the page about tykky.lock."""
    return _page("tykky.lock", "tykky-lock.schema.json", Lock)


def site_page() -> str:
    """Return the page about site.toml."""
    return _page("site.toml", "tykky-site.schema.json", Settings)


def _page(file: str, schema_file: str, model: type) -> str:
    definitions: dict[str, Schema] = msgspec.json.schema(model)["$defs"]
    tables = "\n".join(_table(path, schema, definitions) for path, schema in _tables(model.__name__, definitions))
    module = model.__module__.replace(".", "/")
    about = inspect.getdoc(sys.modules[model.__module__]) or ""
    return f"""# {file}

Made from `{module}.py`; written by `make schemas`. Editors complete and check the file with
[`schemas/{schema_file}`](../../schemas/{schema_file}).

{_markdown(about)}

{tables}"""


def _markdown(docstring: str) -> str:
    """Return a module docstring as markdown; its indented examples are code blocks already."""
    return docstring.strip()


def _tables(root: str, definitions: dict[str, Schema]) -> list[tuple[str, Schema]]:
    """Return every table with the key it has in the file, breadth first; the file's own keys have the key ''."""
    found: list[tuple[str, Schema]] = []
    waiting = [("", root)]
    while waiting:
        path, name = waiting.pop(0)
        schema = definitions[name]
        found.append((path, schema))
        for key, value in schema["properties"].items():
            below = f"{path}.{key}".lstrip(".")
            waiting += [(f"{below}{suffix}", target) for suffix, target in _references(value)]
    return found


def _references(value: Schema, suffix: str = "") -> list[tuple[str, str]]:
    if "$ref" in value:
        return [(suffix, value["$ref"].rsplit("/", 1)[1])]
    found = [pair for option in value.get("anyOf", []) for pair in _references(option, suffix)]
    if isinstance(value.get("items"), dict):
        found += _references(value["items"], f"{suffix}[]")
    if isinstance(value.get("additionalProperties"), dict):
        found += _references(value["additionalProperties"], f"{suffix}.NAME")
    return found


def _table(path: str, schema: Schema, definitions: dict[str, Schema]) -> str:
    keys = {k: v for k, v in schema["properties"].items() if path or not _references(v)}
    heading = f"## {_header(path)}\n\n{schema.get('description', '')}\n" if path else ""
    if not keys:
        return heading
    required = schema.get("required", [])
    rows = "".join(_row(key, value, key in required) for key, value in keys.items())
    space = "\n" if heading else ""
    return f"{heading}{space}| key | type | default | meaning |\n|---|---|---|---|\n{rows}"


def _header(path: str) -> str:
    if path.endswith("[]"):
        return f"`[[{path[:-2]}]]`"
    return f"`{path} = {{ … }}`" if path.endswith(".NAME") else f"`[{path}]`"


def _row(key: str, value: Schema, required: bool) -> str:
    cells = (f"`{key}`", _type(value), _default(value, required), _meaning(value))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _type(value: Schema) -> str:
    if "$ref" in value:
        return "table"
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_type(o) for o in value["anyOf"] if o.get("type") != "null"))
    match value["type"]:
        case "array":
            return f"array of {_plural(_type(value['items']))}"
        case "object":
            return f"table of {_plural(_type(value['additionalProperties']))}"
        case plain:
            return str(plain)


def _plural(kind: str) -> str:
    return f"{kind}s" if kind.isalpha() else kind


def _default(value: Schema, required: bool) -> str:
    if required:
        return "*required*"
    default = value.get("default")
    return f"`{json.dumps(default)}`" if default or default is False else ""


def _meaning(value: Schema) -> str:
    options = [value, *value.get("anyOf", []), value.get("items", {})]
    text = next((o["description"] for o in options if isinstance(o, dict) and "description" in o), "")
    limits = [f"at least {o['minimum']}, at most {o['maximum']}" for o in options if "minimum" in o and "maximum" in o]
    return "; ".join(part for part in (text.replace("<", "&lt;"), *limits) if part)
