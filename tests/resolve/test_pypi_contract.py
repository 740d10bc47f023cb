"""What every PyPI resolver promises, asked of each of them against a real index on loopback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.repository import git, make_repository
from tests.resolve.pypi_asking import PLATFORM, PYTHON, Asking, private_home, versions
from tests.resolve.pypi_index import Index
from tests.sample import sampled
from tests.wheelmaker import make_project, make_sdist, make_wheel
from tykky.digests import file_sha256, source_fingerprint
from tykky.errors import FetchError, ResolveError
from tykky.lock.model import Package

KINDS = ["uv", "pip-tools"]


@pytest.fixture(params=sampled(KINDS, 2))
def ask(request: pytest.FixtureRequest, tmp_path: Path, pypi_index: Index, monkeypatch: pytest.MonkeyPatch) -> Asking:
    private_home(tmp_path, monkeypatch)
    return Asking(request.param, tmp_path, pypi_index.url)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Where artifacts are made before an index serves them."""
    return tmp_path / "made"


def conda(*provides: str) -> tuple[Package, ...]:
    return tuple(
        Package(name=entry.partition("==")[0], version="0", kind="conda", platform=PLATFORM, provides=(entry,))
        for entry in provides
    )


def failure(ask: Asking, kind: type[Exception], *requirements: str, **more: object) -> tuple[str, str, str]:
    """Return reason, output and hint of the error that a request ends with."""
    with pytest.raises(kind) as caught:
        ask(*requirements, **more)
    error = caught.value
    return str(error), error.output or "", error.hint or ""  # type: ignore[attr-defined]


# What is locked


def test_a_wheel_is_locked_with_its_url_hash_size_and_dependencies(ask: Asking, pypi_index: Index, made: Path) -> None:
    leaf = make_wheel(made, "leaf", "1.0")
    top = make_wheel(made, "Top_Package", "2.0", requires=["leaf>=1"])
    leaf_url, top_url = pypi_index.add(leaf), pypi_index.add(top)
    # pip's report does not tell sizes.
    leaf_size, top_size = (None, None) if ask.kind == "pip-tools" else (leaf.stat().st_size, top.stat().st_size)
    assert ask("top.package") == (
        Package(
            name="leaf",
            version="1.0",
            kind="pypi",
            platform=PLATFORM,
            url=leaf_url,
            sha256=file_sha256(leaf),
            size=leaf_size,
            source="wheel",
        ),
        Package(
            name="top-package",
            version="2.0",
            kind="pypi",
            platform=PLATFORM,
            url=top_url,
            sha256=file_sha256(top),
            size=top_size,
            source="wheel",
            depends=("leaf",),
        ),
    )


def test_an_sdist_is_locked_as_such(ask: Asking, pypi_index: Index, made: Path) -> None:
    sdist = make_sdist(made, "source", "1.0", requires=["leaf"])
    url = pypi_index.add(sdist)
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    package = ask("source")[1]
    assert (package.source, package.url, package.sha256, package.depends) == (
        "sdist",
        url,
        file_sha256(sdist),
        ("leaf",),
    )


def test_the_closest_wheel_is_chosen(ask: Asking, pypi_index: Index, made: Path) -> None:
    machine = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}[PLATFORM]
    python = f"cp{PYTHON.replace('.', '')}"
    for tag in (
        "py3-none-any",
        f"cp38-abi3-manylinux_2_17_{machine}",
        f"{python}-{python}-manylinux_2_17_{machine}",
        f"{python}-{python}-manylinux_2_28_{machine}",
        "cp38-cp38-manylinux_2_17_x86_64",
        f"{python}-{python}-macosx_11_0_arm64",
        f"{python}-{python}-musllinux_1_2_{machine}",
    ):
        pypi_index.add(make_wheel(made, "fast", "1.0", tag=tag))
    (package,) = ask("fast")
    assert package.url is not None
    assert package.url.endswith(f"fast-1.0-{python}-{python}-manylinux_2_28_{machine}.whl")


def test_the_order_of_the_request_does_not_matter(ask: Asking, pypi_index: Index, made: Path) -> None:
    for name in ("aa", "bb", "cc"):
        pypi_index.add(make_wheel(made, name, "1.0"))
    assert ask("cc", "aa", "bb") == ask("bb", "cc", "aa")


def test_extras_and_markers_of_the_target_count(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    pypi_index.add(make_wheel(made, "windows-only", "1.0"))
    top = make_wheel(
        made,
        "top",
        "1.0",
        requires=["windows-only; sys_platform == 'win32'", "windows-only; python_version < '3'"],
        extras={"more": ["leaf"]},
    )
    pypi_index.add(top)
    assert versions(ask("top")) == {"top": "1.0"}
    assert versions(ask("top[more]", "windows-only; sys_platform == 'darwin'")) == {"top": "1.0", "leaf": "1.0"}


def test_constraints_bind_and_overrides_win(ask: Asking, pypi_index: Index, made: Path) -> None:
    if ask.kind == "pip-tools":
        pytest.skip("pip has no overrides: the resolver says so")
    for version in ("1.0", "2.0", "3.0"):
        pypi_index.add(make_wheel(made, "leaf", version))
    pypi_index.add(make_wheel(made, "top", "1.0", requires=["leaf<3"]))
    assert versions(ask("top", constraints=("leaf<2",)))["leaf"] == "1.0"
    assert versions(ask("top", overrides=("leaf==3.0",)))["leaf"] == "3.0"


def test_pre_releases_follow_the_setting(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    pypi_index.add(make_wheel(made, "leaf", "2.0rc1"))
    assert versions(ask("leaf")) == {"leaf": "1.0"}
    assert versions(ask("leaf>=2.0rc1")) == {"leaf": "2.0rc1"}
    assert versions(ask("leaf", prerelease="allow")) == {"leaf": "2.0rc1"}


def test_no_binary_takes_the_sdist_and_only_binary_the_wheel(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "both", "1.0"))
    pypi_index.add(make_sdist(made, "both", "1.0"))
    pypi_index.add(make_sdist(made, "both", "2.0"))
    assert [(p.version, p.source) for p in ask("both")] == [("2.0", "sdist")]
    assert [(p.version, p.source) for p in ask("both<2", no_binary=("both",))] == [("1.0", "sdist")]
    assert [(p.version, p.source) for p in ask("both", only_binary=("both",))] == [("1.0", "wheel")]


def test_artifacts_that_are_too_new_are_not_seen(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "leaf", "1.0"), uploaded="2026-01-31T23:59:59Z")
    pypi_index.add(make_wheel(made, "leaf", "2.0"), uploaded="2026-02-01T00:00:00Z")
    assert versions(ask("leaf", exclude_newer="2026-01-31")) == {"leaf": "1.0"}
    assert versions(ask("leaf", exclude_newer="2026-02-01")) == {"leaf": "2.0"}
    assert versions(ask("leaf", exclude_newer="2026-02-01T02:00:00+02:00")) == {"leaf": "1.0"}


def test_an_extra_index_and_find_links_are_asked_too(
    ask: Asking, pypi_index: Index, made: Path, tmp_path: Path
) -> None:
    from tests.resolve.pypi_index import serve

    pypi_index.add(make_wheel(made, "one", "1.0"))
    local = make_wheel(ask.base / "my wheels", "three", "1.0")
    outside = make_wheel(tmp_path / "elsewhere", "four", "1.0")
    with serve(tmp_path / "second") as second:
        second.add(make_wheel(made, "two", "1.0"))
        packages = ask(
            "one",
            "two",
            "three",
            "four",
            extra_index_url=(second.url,),
            find_links=("my wheels", outside.parent.as_uri()),
        )
    found = {p.name: (p.url, p.path, p.sha256) for p in packages}
    assert found["two"][0] == f"{second.origin}/files/two-1.0-py3-none-any.whl"
    assert found["three"] == (None, "my wheels/three-1.0-py3-none-any.whl", file_sha256(local))
    assert found["four"] == (outside.as_uri(), None, file_sha256(outside))


# Direct references


def test_a_local_wheel_is_locked_by_its_relative_path(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    wheel = make_wheel(ask.base / "my dist", "local", "1.0+here", requires=["leaf"])
    expected = Package(
        name="local",
        version="1.0+here",
        kind="pypi",
        platform=PLATFORM,
        path=f"my dist/{wheel.name}",
        sha256=file_sha256(wheel),
        size=wheel.stat().st_size,
        source="wheel",
        depends=("leaf",),
    )
    assert ask(f"./my dist/{wheel.name}")[1] == expected
    assert ask(f"local @ ./my dist/{wheel.name}".replace(" dist", "%20dist"))[1] == expected
    assert ask(f"local @ {wheel.as_uri()}")[1] == expected


def test_a_directory_is_locked_by_its_sources(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    make_project(ask.base / "my lib", "my-lib", "0.3.dev1", requires=["leaf"])
    package = ask("./my lib")[1]
    assert package == Package(
        name="my-lib",
        version="0.3.dev1",
        kind="pypi",
        platform=PLATFORM,
        path="my lib",
        source="directory",
        tree=source_fingerprint(ask.base / "my lib"),
        depends=("leaf",),
    )


def test_a_sibling_directory_keeps_its_relative_path(ask: Asking) -> None:
    make_project(ask.root / "sibling", "sibling", "1.0")
    (package,) = ask("../sibling")
    assert package.path == "../sibling"


def test_a_url_is_locked_with_the_hash_of_what_it_gives(ask: Asking, pypi_index: Index, made: Path) -> None:
    wheel = make_wheel(made, "direct", "1.0")
    url = pypi_index.add(wheel)
    (package,) = ask(f"direct @ {url}")
    assert (package.url, package.sha256, package.source) == (url, file_sha256(wheel), "wheel")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository", "from-git", "0.1")


def test_a_git_reference_is_pinned_to_its_commit_and_stays_there(ask: Asking, repository: Path) -> None:
    wanted = f"from-git @ git+{repository.as_uri()}@main#subdirectory=python"
    commit = git(repository, "rev-parse", "HEAD")
    locked = ask(wanted)
    assert locked == (
        Package(
            name="from-git",
            version="0.1",
            kind="pypi",
            platform=PLATFORM,
            url=f"git+{repository.as_uri()}",
            source="git",
            commit=commit,
            subdirectory="python",
        ),
    )
    make_project(repository / "python", "from-git", "0.2")
    git(repository, "commit", "-am", "second")
    assert ask(wanted, preferred=locked) == locked
    (moved,) = ask(wanted)
    assert (moved.version, moved.commit) == ("0.2", git(repository, "rev-parse", "HEAD"))


def test_a_git_reference_that_is_not_there(ask: Asking, repository: Path) -> None:
    reason, output, hint = failure(ask, FetchError, f"from-git @ git+{repository.as_uri()}@nosuch")
    assert reason == f"{repository.as_uri()} cannot be fetched at nosuch"
    assert hint == "check the address and the branch, tag or commit; git uses your own keys and credential helpers"
    assert "nosuch" in output


def test_an_editable_install_is_refused(ask: Asking) -> None:
    make_project(ask.base / "x", "x", "1.0")
    assert failure(ask, ResolveError, "-e ./x") == (
        "'-e ./x' cannot be locked: an image is read-only, an editable install could not follow your edits",
        "",
        "write './x' to build the project into the image, "
        "or leave it out and name its directory in PYTHONPATH under [runtime.environ]",
    )


def test_a_path_that_is_not_there(ask: Asking) -> None:
    assert failure(ask, ResolveError, "./nosuch.whl") == (
        f"requirement './nosuch.whl' names {ask.base}/nosuch.whl, which does not exist",
        "",
        f"relative paths start at {ask.base}",
    )


# What a previous lock asks to keep


def test_locked_versions_stay_until_they_no_longer_satisfy(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    pypi_index.add(make_wheel(made, "top", "1.0", requires=["leaf"]))
    locked = ask("top")
    pypi_index.add(make_wheel(made, "leaf", "2.0"))
    pypi_index.add(make_wheel(made, "top", "2.0", requires=["leaf"]))
    assert ask("top", preferred=locked) == locked
    upgraded = ask("top", preferred=tuple(p for p in locked if p.name != "leaf"))
    assert versions(upgraded) == {"leaf": "2.0", "top": "1.0"}
    assert versions(ask("top", "leaf>1", preferred=locked)) == {"leaf": "2.0", "top": "1.0"}
    assert versions(ask("top")) == {"leaf": "2.0", "top": "2.0"}


def test_a_better_wheel_of_the_locked_version_does_not_move_the_lock(
    ask: Asking, pypi_index: Index, made: Path
) -> None:
    if ask.kind == "pip-tools":
        pytest.skip("pip tells only the wheel it would take now")
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    locked = ask("leaf")
    pypi_index.add(make_wheel(made, "leaf", "1.0", tag=f"cp{PYTHON.replace('.', '')}-none-any"))
    assert ask("leaf", preferred=locked) == locked
    assert ask("leaf") != locked


# What conda provides


def test_what_conda_provides_satisfies_and_is_not_locked(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "numpy", "9.0"))
    pypi_index.add(make_wheel(made, "top", "1.0", requires=["numpy>=2", "Other.Name"]))
    packages = ask("top", "numpy", provided=conda("numpy==2.1.0", "other-name==1.0+local", "unused==3"))
    assert versions(packages) == {"top": "1.0"}
    assert packages[0].depends == ("numpy", "other-name")
    if ask.kind == "uv":  # pip looks at every place before it applies a constraint
        assert not any("numpy" in path for path in pypi_index.requests)


def test_a_requirement_that_conda_does_not_meet(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "numpy", "3.0"))
    pypi_index.add(make_wheel(made, "top", "1.0", requires=["numpy>=3"]))
    for requirement in ("numpy>=3", "top"):
        reason, output, hint = failure(ask, ResolveError, requirement, provided=conda("numpy==2.1.0"))
        assert reason == (
            f"no PyPI packages for {PLATFORM} with Python {PYTHON} satisfy the requirements: {requirement!r}"
        )
        assert "numpy>=3" in output
        assert hint == (
            "numpy 2.1.0 comes from conda: relax what needs another version, or change numpy in [conda.dependencies]"
        )


def test_an_extra_of_what_conda_provides_is_condas_business(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "top", "1.0", requires=["dask[array]"]))
    assert versions(ask("top", "dask[array,dataframe]", provided=conda("dask==2026.1"))) == {"top": "1.0"}
    assert sorted(ask.notebook.warnings) == [
        "dask[array]: dask comes from conda, so name what the extra needs in [conda.dependencies]",
        "dask[dataframe]: dask comes from conda, so name what the extra needs in [conda.dependencies]",
    ]


def test_a_version_of_conda_that_pypi_cannot_have_is_passed_over(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    assert versions(ask("leaf", provided=conda("odd==2026a_3-x"))) == {"leaf": "1.0"}


# Mirrors, the cache, nothing leaks in


def test_mirrors_never_enter_the_lock(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    mirrors = {
        "https://pypi.org/simple": pypi_index.url,
        "https://files.pythonhosted.org/packages": f"{pypi_index.origin}/files",
    }
    (package,) = ask("leaf", index_url=None, access={"mirrors": mirrors})
    assert package.url == "https://files.pythonhosted.org/packages/leaf-1.0-py3-none-any.whl"
    direct = ask(f"leaf @ {package.url}", index_url=None, access={"mirrors": mirrors})
    assert direct[0].url == package.url


def test_settings_of_the_user_do_not_count(
    ask: Asking, pypi_index: Index, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    pypi_index.add(make_wheel(made, "leaf", "2.0"))
    expected = ask("leaf")
    home = ask.root / "home"
    for name, text in (
        (".config/pip/pip.conf", f"[global]\nindex-url = http://127.0.0.1:9/\nconstraint = {home}/c.txt\n"),
        (".config/uv/uv.toml", 'exclude-newer = "2020-01-01"\n'),
        ("c.txt", "leaf<2\n"),
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    (ask.base / "pyproject.toml").write_text('[tool.uv]\nconstraint-dependencies = ["leaf<2"]\n')
    for name in ("UV_CONSTRAINT", "PIP_CONSTRAINT"):
        monkeypatch.setenv(name, str(home / "c.txt"))
    monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    assert ask("leaf") == expected


# Failures


def test_requirements_that_contradict_each_other(ask: Asking, pypi_index: Index, made: Path) -> None:
    for version in ("1.0", "2.0"):
        pypi_index.add(make_wheel(made, "leaf", version))
    pypi_index.add(make_wheel(made, "unrelated", "1.0"))
    pypi_index.add(make_wheel(made, "top", "1.0", requires=["leaf<2"]))
    reason, output, _ = failure(ask, ResolveError, "top", "leaf>=2", "unrelated")
    assert reason == (
        f"no PyPI packages for {PLATFORM} with Python {PYTHON} satisfy the requirements: 'top', 'leaf>=2'"
    )
    assert "leaf<2" in output
    assert len(output.splitlines()) <= 15


def test_a_package_that_no_index_has(ask: Asking, pypi_index: Index) -> None:
    reason, _, hint = failure(ask, ResolveError, "nosuch")
    assert reason == f"nosuch is not on {pypi_index.url}"
    assert hint == ("check the spelling, or name the index that has it under index-url, extra-index-url or find-links")


def test_a_package_for_another_python(ask: Asking, pypi_index: Index, made: Path) -> None:
    wheel = make_wheel(made, "future", "1.0", requires_python=">=3.99")
    pypi_index.add(wheel, requires_python=">=3.99")
    reason, output, hint = failure(ask, ResolveError, "future")
    assert reason == (f"no PyPI packages for {PLATFORM} with Python {PYTHON} satisfy the requirements: 'future'")
    assert "3.99" in output
    assert hint == "future==1.0 needs Python >=3.99: choose another Python or another version of it"


def test_an_sdist_whose_backend_fails(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_sdist(made, "broken", "1.0", fail="metadata"))
    reason, output, hint = failure(ask, ResolveError, "broken")
    assert reason == "broken 1.0 has no wheel that fits, and asking its source for metadata failed"
    assert output.endswith("backend: fatal error: mpi.h: No such file or directory")
    assert hint == (
        f"choose a version with a wheel for {PLATFORM} and Python {PYTHON}, or install what its build needs"
    )


def test_an_index_that_is_unwell(ask: Asking, pypi_index: Index) -> None:
    pypi_index.fault("/simple/", 500)
    reason, _, hint = failure(ask, FetchError, "leaf")
    assert reason == f"{pypi_index.url}/leaf/ answered 500 Internal Server Error"
    assert hint == "the server is unwell: try again later, or name a mirror in site.toml"


def test_an_artifact_that_is_gone(ask: Asking, pypi_index: Index, made: Path) -> None:
    url = pypi_index.add(make_wheel(made, "leaf", "1.0"))
    pypi_index.fault("/files/", 404)
    reason, _, hint = failure(ask, FetchError, "leaf")
    assert reason == f"{url} answered 404 Not Found"
    assert hint == "check the URL"


def test_an_index_that_hangs(ask: Asking, pypi_index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "1")
    pypi_index.fault("/simple/", "hang")
    reason, _, hint = failure(ask, FetchError, "leaf")
    assert reason == f"{pypi_index.url}/leaf/ cannot be reached: it did not answer in time"
    assert hint == "try again, or allow more time: UV_HTTP_TIMEOUT=120 (seconds)"


def test_an_index_where_nobody_listens(ask: Asking) -> None:
    reason, _, hint = failure(ask, FetchError, "leaf", index_url="http://127.0.0.1:9/simple")
    assert reason == "http://127.0.0.1:9/simple/leaf/ cannot be reached: the connection was refused"
    assert hint == (
        "check the network and the proxy variables (HTTPS_PROXY, NO_PROXY); without a network use --offline, "
        "or name a mirror in site.toml"
    )


def test_an_index_whose_name_has_no_address(ask: Asking) -> None:
    reason, _, _ = failure(ask, FetchError, "leaf", index_url="http://index.invalid/simple")
    assert reason == "http://index.invalid/simple/leaf/ cannot be reached: its name has no address"


def test_a_proxy_that_is_not_there(ask: Asking, pypi_index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    reason, _, _ = failure(ask, FetchError, "leaf")
    assert reason == (
        f"{pypi_index.url}/leaf/ cannot be reached through the proxy http://***@127.0.0.1:9: the connection was refused"
    )


CREDENTIALS = (
    "put them into ~/.netrc ('machine HOST login USER password TOKEN'), or write the index URL as "
    "'https://${INDEX_USER}:${INDEX_TOKEN}@host/…' and set both variables; the lock never holds them"
)


def test_wrong_credentials(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    pypi_index.credentials = ("me", "open sesame")
    for url in (pypi_index.url, pypi_index.url.replace("//", "//me:wrong-secret@")):
        reason, output, hint = failure(ask, FetchError, "leaf", index_url=url)
        assert reason == f"{pypi_index.url} answered 401 Unauthorized: it wants other credentials"
        assert hint == CREDENTIALS
        assert "wrong-secret" not in output + (ask.root / "log").read_text()


def test_an_index_that_forbids(ask: Asking, pypi_index: Index) -> None:
    pypi_index.fault("/simple/", 403)
    reason, _, hint = failure(ask, FetchError, "leaf")
    assert reason == f"{pypi_index.url} answered 403 Forbidden: it wants other credentials"
    assert hint == CREDENTIALS


def test_credentials_come_from_netrc_or_variables_and_stay_out_of_the_lock(
    ask: Asking, pypi_index: Index, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = pypi_index.add(make_wheel(made, "leaf", "1.0"))
    pypi_index.credentials = ("me", "sesame")
    monkeypatch.setenv("INDEX_USER", "me")
    monkeypatch.setenv("INDEX_TOKEN", "sesame")
    (package,) = ask("leaf", index_url=pypi_index.url.replace("//", "//${INDEX_USER}:${INDEX_TOKEN}@"))
    assert package.url == url
    monkeypatch.delenv("INDEX_TOKEN")
    (ask.root / "home" / ".netrc").write_text("machine 127.0.0.1 login me password sesame\n")
    (ask.root / "home" / ".netrc").chmod(0o600)
    assert ask("leaf") == (package,)
    with_credentials = url.replace("//", "//me:sesame@")
    assert [p.url for p in ask(f"leaf @ {with_credentials}")] == [url]


def test_offline_answers_from_the_cache_or_says_what_is_missing(ask: Asking, pypi_index: Index, made: Path) -> None:
    if ask.kind == "pip-tools":
        pytest.skip("pip has no offline mode: the resolver says so")
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    online = ask("leaf")
    asked = len(pypi_index.requests)
    assert ask("leaf", access={"offline": True}) == online
    assert failure(ask, FetchError, "other", access={"offline": True}) == (
        "other is not in the cache, and --offline allows no network",
        "",
        "run the same command once without --offline; after that the cache answers",
    )
    assert len(pypi_index.requests) == asked


def test_the_program_is_named_with_its_version(ask: Asking) -> None:
    name, _, version = ask.resolver().identify().partition(" ")
    assert name == ask.kind
    assert version[0].isdigit()


def test_nothing_is_left_behind(ask: Asking, pypi_index: Index, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = ask.root / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    ask("leaf")
    with pytest.raises(ResolveError):
        ask("nosuch")
    assert list(scratch.iterdir()) == []
    assert sys.executable  # the interpreter that asked is still its own


@pytest.mark.network
def test_the_real_index(ask: Asking) -> None:
    packages = ask("attrs==23.2.0", "six==1.16.0", index_url=None)
    assert [(p.name, p.version, p.sha256) for p in packages] == [
        ("attrs", "23.2.0", "99b87a485a5820b23b879f04c2305b44b951b502fd64be915879d77a7e8fc6f1"),
        ("six", "1.16.0", "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"),
    ]
    assert all(p.url is not None and p.url.startswith("https://files.pythonhosted.org/packages/") for p in packages)
