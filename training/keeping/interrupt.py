"""Ctrl-C and SIGTERM as a wish to stop after the step at hand."""

from __future__ import annotations

import signal
import threading


class Interrupt:
    """While it is open, the first SIGINT or SIGTERM sets ``asked``; a second one stops at once, as it would without this.

    Outside the main thread signals cannot be caught, and it does nothing.
    """

    def __init__(self):
        self.asked = False
        self._before: dict = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception) -> None:
        self._restore()

    def _note(self, number, frame) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
