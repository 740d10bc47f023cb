"""Answers one request without a server, and says who brought which package."""

from importlib import metadata

import flask

app = flask.Flask(__name__)


@app.get("/")
def hello() -> str:
    """Greet."""
    return flask.render_template_string("hello, {{ name }}", name=flask.request.args["name"])


if __name__ == "__main__":
    print(app.test_client().get("/?name=world").text)
    for name in ("flask", "jinja2", "click"):
        package = metadata.distribution(name)
        print(f"{name} {package.version}, installed by {(package.read_text('INSTALLER') or '?').strip()}")
