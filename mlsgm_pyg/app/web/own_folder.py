"""One temporary folder for all that a process and its libraries write; entered before they are imported."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OFFLINE = {'GRADIO_ANALYTICS_ENABLED': 'False', 'GRADIO_SHARE': 'False', 'HF_HUB_OFFLINE': '1'}


@contextmanager
def own_folder() -> Iterator[Path]:
    """The folder, which is removed at the end, also where SIGTERM ends the process."""
    folder = Path(tempfile.mkdtemp(prefix='mlsgm-demo-'))
    mine = {'GRADIO_TEMP_DIR': folder / 'uploads', 'TMPDIR': folder, 'MPLCONFIGDIR': folder, 'HF_HOME': folder}
    settings = {name: str(path) for name, path in mine.items()}
    settings |= OFFLINE
    before, before_temporary = {name: os.environ.get(name) for name in settings}, tempfile.tempdir
    handler = signal.signal(signal.SIGTERM, _stop)  # As Ctrl+C does: the folder is removed.
    try:
        os.environ.update(settings)
        tempfile.tempdir = str(folder)
        (folder / 'uploads').mkdir()
        yield folder
    finally:
        tempfile.tempdir = before_temporary
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        signal.signal(signal.SIGTERM, handler)
        shutil.rmtree(folder, ignore_errors=True)


def _stop(*signal: Any) -> None:
    raise KeyboardInterrupt
