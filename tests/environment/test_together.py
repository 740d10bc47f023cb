"""Which environments one mount can show, where a root of its own or the site's directories decide."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.environment.stacks import layer, make
from tykky.environment.together import Member, check_together
from tykky.errors import UsageError
from tykky.runtime.model import Binds
from tykky.spec.model import Environment, Runtime, Spec


def member(path: Path, name: str, image: str = "host") -> Member:
    record = msgspec.structs.replace(make(path, layer("ab")).record(), name=name, prefix=f"/tykky/{name}")
    return Member(path, path, record, Spec(Environment(name), runtime=Runtime(image=image)), 0)


@pytest.mark.parametrize("isolated", ["a", "b"])
def test_a_root_of_its_own(tmp_path: Path, isolated: str) -> None:
    members = [member(tmp_path / name, name, "/x.sif" if name == isolated else "host") for name in ("a", "b")]
    with pytest.raises(UsageError) as caught:
        check_together(members, Binds())
    said = f"{tmp_path}/{isolated} has a root of its own (/x.sif): it cannot be combined with others"
    assert (str(caught.value), caught.value.hint) == (said, "only environments on the host's root can be combined")


def test_a_directory_that_is_not_shown(tmp_path: Path) -> None:
    members = [member(tmp_path / "a", "a"), member(tmp_path / "b", "b")]
    top = "/" + tmp_path.parts[1]
    check_together(members, Binds())
    check_together(members, Binds((top,), (str(tmp_path),)))
    with pytest.raises(UsageError) as caught:
        check_together(members, Binds((top,)))
    assert str(caught.value) == f"{tmp_path}/b lies in a directory that this site does not show to programs"
    assert caught.value.hint == "'no-bind' in site.toml names it; 'bind' there shows a directory in it all the same"
