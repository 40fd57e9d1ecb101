"""The next items of a list, read by threads while the caller is at work on one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item, Made = TypeVar("Item"), TypeVar("Made")


def ahead(work: Callable[[Item], Made], items: Iterable[Item], threads: int) -> Iterator[tuple[Item, Future[Made]]]:
    """Each item in its order, with what becomes of it: ``result()`` waits for it, and raises what ``work`` raised.

    While the caller is at one item, the next ``threads`` are worked on or lie ready, and no more, so memory is bounded. Where the
    caller stops early, what has not begun is left.

    Args:
        work: of one item; called by several threads at once.
        threads: 1 or more.
    """
    waiting: deque[tuple[Item, Future[Made]]] = deque()
    pool = ThreadPoolExecutor(threads, "ahead")
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > threads:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(cancel_futures=True)
