"""A command that is asked to stop: it ends what it has begun, and keeps it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)  # A scheduler's, and Ctrl+C.
LIBRARY = ctypes.CDLL(None) if sys.platform == 'linux' else None  # C's own.
PR_SET_PDEATHSIG = 1


class Stopped(Exception):
    """A command ended early because a signal of this number asked it to; says what is done, and how to go on."""

    def __init__(self, number: int, told: str = ''):
        super().__init__(told)
        self.number = number

    @property
    def status(self) -> int:
        """The exit status that shells give to a signal: 143 of SIGTERM, 130 of Ctrl+C."""
        return 128 + self.number


class Stop:
    """Listens for signals while it is open: the number of the first one is kept as a wish, a second one ends all at
    once.

    Once the end has begun, more of them change nothing.
    """

    def __init__(self):
        self.number: int | None = None
        self.ending = False
        self.process = os.getpid()
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        self.before = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.before and _is_main():
            for number, handler in self.before.items():
                signal.signal(number, handler)

    def listen(self) -> None:
        """Takes the signals, also back from a library that took them for itself."""
        if _is_main():  # Others may not.
            for number in SIGNALS:
                signal.signal(number, self._come)

    def check(self) -> None:
        """Raises Stopped if a signal has come."""
        if self.number is not None:
            self.ending = True
            raise Stopped(self.number)

    def _come(self, number: int, frame: FrameType | None) -> None:
        if self.ending or os.getpid() != self.process:  # What was forked from this process leaves it to this one.
            return
        self.check()  # It has come before.
        self.number = number


def ignore() -> None:
    """In a process that reads for another one: terminals and schedulers signal to all, and the first one decides."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()


def end_with_parent(worker: int = 0) -> None:
    """In a process that works for another one: the system ends it when that one is gone, whatever ended it, even a
    SIGKILL, of which no program can tell its own (Linux alone)."""
    if LIBRARY is not None:
        LIBRARY.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_readers() -> None:
    """Ends the processes that read for this one, which neither signals nor multiprocessing's end of a program would."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if _is_main() else None  # torch's raises for each of them.
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    if _is_main():
        signal.signal(signal.SIGCHLD, before)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
