"""What visitors uploaded: files under names of the server's own, which are all that a client can say of them."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

OLD = 600  # What was uploaded and never looked at is removed after so many seconds.
TOKEN = re.compile(r'[\w-]{22}', re.ASCII)


class Uploads:
    """Keeps each file, up to some size, alone in a folder whose name nobody can guess: the token of the file."""

    def __init__(self, folder: Path, max_bytes: int):
        self.folder, self.max_bytes = folder.resolve(), max_bytes

    async def take(self, request: Request) -> str:
        """Stores the one file of a form; returns its token. Another form is answered 400, a file that is too large
        413."""
        self.sweep()
        if not request.headers.get('content-type', '').startswith('multipart/form-data'):
            raise HTTPException(400, 'an upload must be a form (multipart/form-data) with one file')
        try:
            async with request.form(max_files=1, max_fields=0) as form:
                files = [file for file in form.getlist('files') if isinstance(file, UploadFile) and file.filename]
                if len(files) != 1:
                    raise HTTPException(400, f"an upload must hold one file with a name in 'files' (got {len(files)})")
                if files[0].size > self.max_bytes:
                    raise HTTPException(413, f'a file may have {self.max_bytes:,} bytes (got {files[0].size:,})')
                return await run_in_threadpool(self._store, files[0])
        except MultiPartException as error:
            raise HTTPException(400, f'an upload must be a form with one file: {error.message}') from error

    def find(self, token: object) -> Path | None:
        """The file of a token; :obj:`None` if there is none, or it is no regular file in the folder."""
        if not isinstance(token, str) or not TOKEN.fullmatch(token):
            return None
        own = self.folder / token
        with suppress(OSError):
            if stat.S_ISDIR(own.lstat().st_mode):  # Links are followed nowhere.
                paths = [own / name for name in os.listdir(own)]
                if len(paths) == 1 and stat.S_ISREG(paths[0].lstat().st_mode):
                    return paths[0]
        return None

    @contextmanager
    def taken(self, token: object) -> Iterator[Path | None]:
        """The file of a token as :meth:`find` finds it, which is removed afterwards."""
        path = self.find(token)
        try:
            yield path
        finally:
            if path is not None:
                shutil.rmtree(path.parent, ignore_errors=True)

    def sweep(self, age: float = OLD) -> None:
        """Removes what is older than so many seconds."""
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # Another visitor's step was faster.
                found = path.lstat()
                if time.time() - found.st_mtime < age:
                    continue
                shutil.rmtree(path, ignore_errors=True) if stat.S_ISDIR(found.st_mode) else path.unlink()

    def _store(self, file: UploadFile) -> str:
        token = secrets.token_urlsafe(16)
        (self.folder / token).mkdir(mode=0o700)
        try:
            with open(self.folder / token / _name(file.filename), 'xb') as out:
                shutil.copyfileobj(file.file, out)
        except OSError:
            shutil.rmtree(self.folder / token, ignore_errors=True)
            raise
        return token


def _name(given: str) -> str:
    """What may be the name of a file, and is shown: 'a/../b\\0c.png' -> 'bc.png'."""
    last = re.split(r'[/\\]', given)[-1]
    name = ''.join(letter for letter in last if letter.isprintable())
    name = name.encode()[-200:].decode(errors='ignore')
    return name if name.strip('. ') else 'picture'
