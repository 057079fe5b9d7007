"""Downloads a data set, or the word vectors, into the folder where the rows look for it, and checks all of it.

python -m experiments.prepare                       the data sets, their sizes and folders
python -m experiments.prepare NAME                  what is missing is downloaded, unpacked, counted and parsed
python -m experiments.prepare NAME --check          nothing is downloaded: is all of it there?
mlsgm check FOLDER                                  your own folder: counts, broken files, words

A broken download goes on where it was cut: give the same command again. The archives stay until you delete them, so
that takes room for them and for what they hold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from experiments.downloads.download import check_url
from experiments.moved import tell
from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError, Failed, nearest

AGAIN = 'delete it, and the same command downloads it again'

if TYPE_CHECKING:
    from experiments.downloads.sources import Archive, Source


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('python -m experiments.prepare', __doc__)
    parser.add_argument('name', nargs='?', metavar='NAME', help='the data set; none: list them')
    parser.add_argument('--root', type=Path, metavar='PATH', help='where it goes (default: data/NAME, as in the rows)')
    parser.add_argument('--check', action='store_true', help='download nothing')
    parser.add_argument('--mirror', metavar='URL', help='fetch URL/<archive> instead of the official place')
    return parser.parse_args(argv)


@cli.door('the same command goes on from there')
def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status: 0 where all is there, 1 where it is not, 2 for a wrong word."""
    if argv[:1] == ['csv']:
        tell('check', argv[1:])
    args = parse(argv)
    if args.mirror is not None:
        check_url(args.mirror)
    from experiments.downloads.sources import SOURCES  # torch takes seconds: after the words were understood.

    if args.name is None:
        return _list(SOURCES)
    if args.name not in SOURCES:
        raise ConfigError(f"unknown data set '{args.name}': {nearest(args.name, SOURCES)}")
    source = SOURCES[args.name]
    try:
        return prepare(source, args.root or Path(source.root), args.check, args.mirror)
    except (ValueError, RuntimeError, OSError) as error:
        raise Failed(str(error)) from error


def prepare(source: Source, root: Path, check: bool = False, mirror: str | None = None) -> int:
    """Downloads what is missing, unless :obj:`check`, and reads all of it."""
    lacking = [archive for archive in source.archives if not is_unpacked(archive, root)]
    if lacking and not check:
        print(f'{source.about}: {decimal(sum(archive.size for archive in lacking))} to {root}')
        for archive in lacking:
            get(archive, root, mirror)
    for archive in lacking:
        if unpacking(archive, root).is_file():  # With --check.
            raise ValueError(
                f"the unpacking of '{archive.name}' in '{root}' was broken off: without --check it goes on, and if you "
                f"unpacked it yourself, delete '{unpacking(archive, root)}'"
            )
    try:
        seen = source.verify(root)
    except (ValueError, OSError):
        if source.by_hand:
            print(source.by_hand.format(root=root))
        raise
    print('\n'.join([*seen, f'all there: {root}']))
    kept = [path for path in (root / archive.name for archive in source.archives) if path.is_file()]
    if kept:
        size = decimal(sum(path.stat().st_size for path in kept))
        print(f'no longer needed ({size}): {" ".join(path.name for path in kept)}')
    return 0


def is_unpacked(archive: Archive, root: Path) -> bool:
    """Whether all is there that an archive holds, and was not broken off."""
    from mlsgm_pyg.datasets.files import listing

    if unpacking(archive, root).is_file():
        return False
    there = all(
        len(listing(root / place)) >= count if place.endswith('/') else (root / place).is_file()
        for place, count in archive.holds.items()
    )
    if not there or not archive.listed:
        return there
    names, folder = archive.listed
    numbers = (root / names).read_text(encoding='utf-8', errors='replace').split()
    return {f'{number}.jpg' for number in numbers} <= listing(root / folder)


def unpacking(archive: Archive, root: Path) -> Path:
    """A file that is there as long as an archive is being unpacked."""
    return root / f'{archive.name}.unpacking'


def get(archive: Archive, root: Path, mirror: str | None) -> None:
    """Downloads, checks and unpacks one archive."""
    from experiments.downloads.archives import extract
    from experiments.downloads.download import digest, download

    url = f'{mirror.rstrip("/")}/{archive.name}' if mirror else archive.url
    path = root / archive.name
    print(f'{url} ({decimal(archive.size)})')
    with progress(archive.name, DownloadColumn()) as told:
        download(url, path, archive.size, archive.checksum, told)
    if not archive.checksum:
        print(f'{archive.name}: sha256 {digest(path, "sha256")} (no checksum of it is published)')
    unpacking(archive, root).touch()
    with progress('unpacking', MofNCompleteColumn()) as told:
        try:
            extract(path, root, (lambda name: name in archive.only) if archive.only else None, told)
        except ValueError as error:
            raise ValueError(f'{error}; {AGAIN}') from error
    unpacking(archive, root).unlink()
    if not is_unpacked(archive, root):
        wanted = ', '.join(f'{place} ({count:,} files)' for place, count in archive.holds.items())
        wanted += f' and every image of {archive.listed[0]}' if archive.listed else ''
        raise ValueError(
            f"'{path}' does not hold what it should: expected {wanted} in '{root}' after unpacking it; {AGAIN}"
        )


@contextmanager
def progress(what: str, column: ProgressColumn) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on the terminal, if there is one."""
    console = Console(stderr=True)
    columns = (TextColumn('{task.description}'), BarColumn(), column, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _list(sources: dict[str, Source]) -> int:
    width = max(map(len, sources))
    for name, source in sources.items():
        size = decimal(sum(archive.size for archive in source.archives)) if source.archives else 'by hand'
        print(f'{name:{width}}  {size:>8}  {source.root}  {source.about}')
    print('Your own folder is looked at by mlsgm check FOLDER.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
