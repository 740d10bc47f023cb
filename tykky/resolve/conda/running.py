"""The one way to wait for rattler, also where a Ctrl-C comes meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")


def run(question: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Return what the coroutine returns; not to be called where an event loop runs already."""
    return asyncio.run(_interruptible(question))


async def _interruptible(question: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Answer the question; a Ctrl-C that meets one of its tasks is not told a second time, as that task's error."""

    def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), KeyboardInterrupt):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(tell)
    return await question
