"""What is not a wheel: local projects, sdists and git repositories are built inside, and cached by content."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.conftest import Desk, run
from tests.wheelmaker import make_project, make_sdist

Spec = Callable[..., str]


def version_of(env: Path, module: str) -> str:
    return run([env / "bin" / "python", "-c", f"import {module}; print({module}.VERSION)"]).strip()


def test_a_local_project_and_its_drift(desk: Desk, wheels_spec: Spec) -> None:
    make_project(desk.directory / "mylib", "mylib", "0.1", files={"mylib/__init__.py": "VERSION = 'first'\n"})
    desk.write(wheels_spec("./mylib", "alpha"))
    env = desk.environment()
    assert version_of(env, "mylib") == "first"
    (desk.directory / "mylib" / "mylib" / "__init__.py").write_text("VERSION = 'second'\n")
    stale = desk.tykky("lock", "--check", status=5)
    assert "mylib (mylib) has changed" in stale.err
    desk.environment()
    assert version_of(env, "mylib") == "second"


def test_an_sdist(desk: Desk, wheels_spec: Spec) -> None:
    make_sdist(desk.directory / "dist", "gamma", "3.0", files={"gamma/__init__.py": "VERSION = 'built'\n"})
    desk.write(wheels_spec("./dist/gamma-3.0.tar.gz"))
    assert version_of(desk.environment(), "gamma") == "built"


def test_a_git_repository_at_its_commit(desk: Desk, wheels_spec: Spec, tmp_path: Path) -> None:
    repository = make_project(tmp_path / "repo", "delta", "1.0", files={"delta/__init__.py": "VERSION = 'v1'\n"})

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", repository, *words], check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-qm", "one")
    desk.write(wheels_spec(f"delta @ git+file://{repository}"))
    desk.tykky("lock")
    (repository / "delta" / "__init__.py").write_text("VERSION = 'v2'\n")
    git("commit", "-qam", "two")
    desk.tykky("build", "--prefix", "env")
    assert version_of(desk.directory / "env", "delta") == "v1"


def test_the_second_build_of_a_source_takes_the_cached_wheel(desk: Desk, wheels_spec: Spec) -> None:
    make_project(desk.directory / "mylib", "mylib", "0.1", files={"mylib/__init__.py": "VERSION = 'x'\n"})
    desk.write(wheels_spec("./mylib"))
    desk.environment("one")
    again = desk.tykky("build", "--prefix", "two")
    assert "build a wheel" not in again.err


def test_a_build_that_fails_shows_the_backends_words_and_leaves_nothing(desk: Desk, wheels_spec: Spec) -> None:
    make_project(desk.directory / "bad", "bad", "0.1", fail="wheel")
    desk.write(wheels_spec("./bad"))
    desk.tykky("lock")
    failed = desk.tykky("build", "--prefix", "env", status=9)
    assert "error: bad 0.1 cannot be built: its build backend failed\n" in failed.err
    assert failed.err.count("/logs/build-") == 1, "the log is named, once"
    assert not (desk.directory / "env").exists()


def test_without_isolation_the_environments_packages_are_seen(desk: Desk, wheels_spec: Spec) -> None:
    project = make_project(desk.directory / "ext", "ext", "0.1", files={"ext/__init__.py": "VERSION = 'x'\n"})
    backend = next(project.rglob("*backend*.py"))
    backend.write_text(_needs_alpha(backend))
    desk.write(wheels_spec("./ext", "alpha", more='no-build-isolation = ["ext"]\n'))
    desk.tykky("lock", status=None)
    built = desk.tykky("build", "--prefix", "env", status=None)
    assert built.status == 0, built.err
    assert version_of(desk.directory / "env", "ext") == "x"


def _needs_alpha(backend: Path) -> str:
    """Return the backend's text with an import that only the environment can satisfy, when a wheel is built."""
    text = backend.read_text()
    head, separator, tail = text.partition("def build_wheel(")
    signature, newline, body = tail.partition("\n")
    return f"{head}{separator}{signature}{newline}    import alpha\n{body}"
