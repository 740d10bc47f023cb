"""The one way to wait for rattler, so that the process can end safely afterwards.

rattler works in threads of its own. One of them may still hold a reference to Python when `asyncio.run` returns; if the
interpreter ends in that moment, the process dies with SIGSEGV or SIGABRT although all went well (measured with
py-rattler 0.28: a quarter of the processes that end at once, none that end 5 ms later).
"""

from __future__ import annotations

import asyncio
import atexit
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")

_QUIET = 0.1  # seconds after which no thread of rattler is still on its way out

_last = 0.0  # when rattler was last waited for, on the monotonic clock


def run(question: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Return what the coroutine returns; not to be called where an event loop runs already."""
    global _last  # noqa: PLW0603 - the interpreter ends once, whoever asked last
    try:
        return asyncio.run(_interruptible(question))
    finally:
        if not _last:
            atexit.register(_wait_until_quiet)
        _last = time.monotonic()


async def _interruptible(question: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Answer the question; a Ctrl-C that meets one of its tasks is not told a second time, as that task's error."""

    def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), KeyboardInterrupt):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(tell)
    return await question


def _wait_until_quiet() -> None:
    time.sleep(max(0.0, _last + _QUIET - time.monotonic()))
