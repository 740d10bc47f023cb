"""The private directory of a build goes, whatever is in it and whatever happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ordinary import as_ordinary_user, open_place
from tykky.environment import scratch as room
from tykky.environment.scratch import remove_tree, scratch


def test_what_its_owner_cannot_read_goes_too() -> None:
    with open_place() as place:

        def work() -> None:
            tree = place / "tree"
            deep = tree / "closed" / "read-only" / "deep"
            deep.mkdir(parents=True)
            (deep / "file").write_text("x")
            outside = place / "outside"
            outside.mkdir(mode=0o500)
            (tree / "away").symlink_to(outside)
            deep.parent.chmod(0o500)
            (tree / "closed").chmod(0)
            tree.chmod(0o500)
            remove_tree(tree)
            assert not tree.exists()
            assert outside.stat().st_mode & 0o777 == 0o500

        as_ordinary_user(work)


def test_a_signal_during_the_cleaning_up_does_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = remove_tree
    calls: list[Path] = []

    def interrupted(path: Path) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt
        real(path)

    monkeypatch.setattr(room, "remove_tree", interrupted)
    with pytest.raises(KeyboardInterrupt), scratch(tmp_path, keep=False, say=print) as private:
        (private / "file").write_text("x")
    assert len(calls) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_failed_build_may_keep_it(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(RuntimeError), scratch(tmp_path, keep=True, say=said.append) as private:
        raise RuntimeError
    assert said == [f"kept {private}"]
    assert private.stat().st_mode & 0o777 == 0o700
