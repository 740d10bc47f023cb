"""Which environments there are: the user's, the site's, those here; and what is wrong with some of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from msgspec.structs import replace

from tests.environment.stacks import layer, make
from tests.ordinary import as_ordinary_user, open_place
from tykky.environment.known import Known, known_environments, search_path
from tykky.guard.holder import user_name

LAYER = layer("ab", {"bin/python": 1})


def test_each_is_found_once_in_the_order_of_looking(tmp_path: Path) -> None:
    for name in ("mine/b", "mine/a", "appl/base", "here/c"):
        make(tmp_path / name, LAYER)
    (tmp_path / "mine/file").touch()
    (tmp_path / "mine/other").mkdir()
    sites = {"z-again": tmp_path / "mine/a", "base": tmp_path / "appl/base"}
    found = known_environments(
        [tmp_path / "missing", tmp_path / "mine/file", tmp_path / "mine"], sites, [tmp_path / "here", tmp_path / "mine"]
    )
    assert [(known.name, known.origin) for known in found] == [
        ("a", "user"),
        ("b", "user"),
        ("base", "site"),
        ("c", "here"),
    ]
    assert all(known.record is not None and known.problem is None for known in found)


def test_a_directory_may_be_an_environment_itself(tmp_path: Path) -> None:
    make(tmp_path / "env", LAYER)
    assert [known.name for known in known_environments([tmp_path / "env"], {})] == ["env"]


def test_what_is_wrong_is_said_and_stops_nothing(tmp_path: Path) -> None:
    for name in ("damaged", "emptied", "future", "well"):
        make(tmp_path / name, LAYER)
    record = ".tykky/generations/1/environment.json"
    (tmp_path / "damaged" / record).write_text("{")
    (tmp_path / "emptied" / record).unlink()
    document = json.loads((tmp_path / "future" / record).read_text())
    (tmp_path / "future" / record).write_text(json.dumps({**document, "format": 99}))
    (tmp_path / "old/bin").mkdir(parents=True)
    (tmp_path / "old/common.sh").touch()
    found = known_environments([tmp_path], {"gone": tmp_path / "nowhere"})
    assert {known.name: known.problem for known in found} == {
        "damaged": ".tykky/current/environment.json is damaged: Input data was truncated",
        "emptied": "generation 1 is missing",
        "future": ".tykky/current/environment.json has format 99, this tykky reads 1",
        "old": "was made by hpc-container-wrapper, not by this tykky",
        "well": None,
        "gone": "no such directory",
    }


def test_a_directory_that_may_not_be_read_is_named() -> None:
    with open_place() as place:

        def work() -> None:
            make(place / "shut/env", LAYER)
            make(place / "half/env", LAYER)
            (place / "half/env/.tykky/generations").chmod(0)
            (place / "shut").chmod(0)
            found = known_environments([place / "shut", place / "half"], {"env": place / "shut/env"})
            no, me = "cannot be read", user_name(os.geteuid())
            assert [(known.name, known.problem) for known in found] == [
                ("shut", f"{no}: permission denied"),
                ("env", f"{no}: {me} does not let you into {place}/half/env/.tykky/generations"),
                ("env", f"{no}: {me} does not let you into {place}/shut"),
            ]

        as_ordinary_user(work)


def test_the_size_is_that_of_its_own_images(tmp_path: Path) -> None:
    record = make(tmp_path / "env", LAYER, layer("cd", {"lib/x": 1})).record()
    assert Known("env", tmp_path / "env", "user", record, None).size == 512
    assert Known("env", tmp_path / "env", "user", None, "damaged").size is None
    parents = replace(record.layers[0], image="/appl/envs/base/x.sqfs")
    child = replace(record, layers=(parents, record.layers[1]))
    assert Known("env", tmp_path / "env", "user", child, None).size == 256


def test_the_search_path() -> None:
    assert search_path({"TYKKY_PATH": "/a::/b c:"}) == (Path("/a"), Path("/b c"))
    assert search_path({}) == ()
