"""Pictures: one by one through the tagger, and in groups through predict, check and training."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from tests.hostile.case import Case, Command, Result
from tests.hostile.images import Odd, every, noise, whole
from tests.hostile.parts.labels import CHEAP, TRAIN
from tests.hostile.stock import Stock

GROUP = 60


@contextmanager
def scope(stock: Stock) -> Iterator[Any]:
    """A model that is opened once."""
    from mlsgm_pyg.tagger import Tagger

    yield Tagger(stock.checkpoint)


def cases() -> Iterator[Case]:
    odd = list(every())
    for one in odd:
        done = None if one.reason == '' else one.reason is None
        act = lambda stock, rng, one=one: tagged(stock, one)  # noqa: E731
        yield Case(one.name, act, one.reason or '', done, right(one), cost=0.2)
    for name, (make, reason) in PLACES.items():
        yield Case(name, lambda stock, rng, make=make: placed(stock, make), reason, False)
    for at in range(0, len(odd), GROUP):
        some = [odd[0], *odd[at : at + GROUP]]
        act = lambda stock, rng, some=some: listed(stock, some)  # noqa: E731
        yield Case(f'predict from {at}', act, '', True, records(some), 90, 4)
        act = lambda stock, rng, some=some[::4]: shown(stock, some)  # noqa: E731
        yield Case(f'shown from {at}', act, '', True, None, 90, 3)
    sure = [one for one in odd if one.reason != '']
    for at in range(0, len(sure), GROUP):
        some = [*sure[:1] * 4, *sure[at : at + GROUP]]
        act = lambda stock, rng, some=some: checked(some)  # noqa: E731
        yield Case(f'check from {at}', act, '', True, broken(some), 90, 2)
    few = [one for one in sure if one.reason][:GROUP]
    act = lambda stock, rng: ['mlsgm', 'train', *trained(stock, few), 'data.on_error=skip']  # noqa: E731
    yield Case('training skips', act, '', True, skipped(few), 120, 20)
    act = lambda stock, rng: ['mlsgm', 'train', *trained(stock, few[:1])]  # noqa: E731
    yield Case('training stops', act, r'cannot read image \d+, .*x000\.', False, None, 90, 9)


def tagged(stock: Stock, one: Odd) -> Command:
    """The tagger's answer for one picture, and for its bytes."""
    Path(one.name).write_bytes(one.make())

    def answer() -> None:
        from mlsgm_pyg.datasets import read_picture

        found, again = stock.server([one.name]), stock.server([Path(one.name).read_bytes()])
        if found['error'][0]:
            if '\n' in found['error'][0] or not again['error'][0]:
                raise AssertionError(found['error'], again['error'])
            raise ValueError(found['error'][0])
        image = read_picture(one.name).image
        grey = sum(image.convert('L').histogram()[i] * i for i in range(256)) / (image.width * image.height)
        told = {'mode': image.mode, 'size': image.size, 'grey': grey, 'every': found['every'], 'again': again['every']}
        print(json.dumps(told))

    return answer


def right(one: Odd) -> Any:
    """Whether a picture that was read is the one that was written, and nothing but what was asked for is said."""

    def check(result: Result) -> str:
        if 'Warning' in result.err:
            return f'wrong: a warning is shown: {result.err[:200]}'
        if result.status:
            return ''
        told = json.loads(result.out)
        if (
            one.size
            and tuple(told['size']) != one.size
            or told['mode'] != 'RGB'
            or told['again'] not in (told['every'], [{}])
        ):
            return f'wrong: {told}'
        if one.grey is not None and abs(told['grey'] - one.grey) > 2:
            return f'wrong: grey of {told["grey"]}, not of {one.grey}'
        return ''

    return check


def locked() -> str:
    """A superuser may read everything: Pillow is told no for one name."""
    real = Image.open

    def opened(path: Any, *args: Any, **formats: Any) -> Image.Image:
        if 'locked' in str(path):
            raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return real(path, *args, **formats)

    Image.open = opened  # Of this process alone.
    noise().save('locked.png')
    return 'locked.png'


def made(make: Any, *how: Any, name: str = 'x.jpg') -> str:
    make(name, *how)
    return name


def giant(name: str, head: bytes) -> None:
    """A file of 40 GB that takes no room."""
    Path(name).write_bytes(head)
    os.truncate(name, 40 << 30)


#: What is no file that can be read -> what makes it and gives its name, and the reason.
PLACES = {
    'a folder': (lambda: made(os.mkdir), 'Is a directory'),
    'a pipe': (lambda: made(os.mkfifo), 'Not a regular file'),
    'unreadable': (locked, 'Permission denied'),
    'missing': (lambda: 'x.jpg', 'No such file'),
    'a device': (lambda: '/dev/zero', 'Not a regular file'),
    'a terminal': (lambda: '/dev/tty', 'Not a regular file|No such'),
    'a link to nowhere': (lambda: made(lambda name: os.symlink('nowhere', name)), 'No such file'),
    'a link to itself': (lambda: made(lambda name: os.symlink(name, name)), 'Too many levels|No such file'),
    'a link to a device': (lambda: made(lambda name: os.symlink('/dev/random', name)), 'Not a regular file'),
    'the log of the kernel': (lambda: made(lambda name: os.symlink('/proc/kmsg', name)), 'empty|No such|not permitted'),
    'memory': (lambda: '/proc/self/mem', r'\S'),
    'the environment': (lambda: '/proc/self/environ', 'empty'),
    'a socket': (lambda: made(bound), 'Not a regular file|No such device'),
    'a file in a file': (lambda: str(Path(made(lambda name: Path(name).touch())) / 'y.jpg'), 'Not a directory'),
    'a name of 5,000 letters': (lambda: 'a' * 5000 + '.jpg', 'name too long'),
    'a path of 1,000 folders': (lambda: 'a/' * 5000 + 'x.jpg', 'name too long'),
    'a name with NUL': (lambda: 'a\0.jpg', 'null byte'),
    'no name': (lambda: '', r'\S'),
    'zeros of 40 GB': (lambda: made(giant, b''), 'more than the 2,147,483,648'),
    **{
        f'40 GB that begin as {name}': (
            lambda name=name: made(giant, whole(name), name=name),
            'more than the 2,147,483,648',
        )
        for name in ('rgb.jpg', 'rgb.png', 'lossy.webp', 'rgb.avif', 'raw.tif')
    },
}


def bound(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(name)


def placed(stock: Stock, make: Any) -> Command:
    name = make()

    def answer() -> None:
        if error := stock.server([name])['error'][0]:
            raise ValueError(error)

    return answer


def shown(stock: Stock, some: list[Odd]) -> Command:
    """What the page of the demo says of them: one that cannot be read leaves what was there."""
    names = write(some, '.')

    def answer() -> None:
        import mlsgm_pyg
        from mlsgm_pyg.app.web.viewer import Viewer
        from mlsgm_pyg.app.web.views import drop

        noise().save('good.png')
        with Viewer(mlsgm_pyg.load(stock.checkpoint)) as viewer:
            before = drop(viewer, 'good.png', None, 0.0, 0.5).seen
            for name, one in zip(names, some):
                found = drop(viewer, name, before, 0.0, 0.5)
                is_refused = found.seen is before and f'cannot show {name}: ' in found.status
                assert '\n' not in found.status and (is_refused or found.seen.name == name and found.figures), one.name
                assert one.reason == '' or is_refused == bool(one.reason), one.name

    return answer


def write(some: list[Odd], folder: str) -> list[str]:
    """Writes them under plain names, in their order."""
    os.makedirs(folder, exist_ok=True)
    suffixes = [re.findall(r'[.](\w+)', one.name)[-1] for one in some]
    names = [f'x{i:03}.{suffix}' for i, suffix in enumerate(suffixes)]
    for name, one in zip(names, some):
        Path(folder, name).write_bytes(one.make())
    return names


def listed(stock: Stock, some: list[Odd]) -> Command:
    names = write(some, 'photos')
    Path('list.txt').write_text(''.join(f'photos/{name}\n' for name in names))
    return ['mlsgm', 'predict', str(stock.checkpoint), 'list.txt', '--workers', '0', '--accelerator', 'cpu']


def records(some: list[Odd]) -> Any:
    """Whether every picture has one record, with the reason where it cannot be read."""

    def check(result: Result) -> str:
        found = [json.loads(line) for line in Path('predictions.jsonl').read_text().splitlines()]
        if [one['file'][8:11] for one in found] != [f'{i:03}' for i in range(len(some))]:
            return f'lost: {len(found)} records of {len(some)}'
        return _as_wanted(some, [one.get('error', '') for one in found], result)

    return check


def _as_wanted(some: list[Odd], errors: list[str], result: Result) -> str:
    if 'Warning' in result.err:
        return f'wrong: a warning is shown: {result.err[:200]}'
    for one, error in zip(some, errors):
        if one.reason is None and error or one.reason and not re.search(one.reason, error):
            return f'wrong: {one.name}: {error!r}'
    return ''


def labelled(some: list[Odd], folder: str) -> list[str]:
    """A folder with a label file that names them."""
    names = write(some, f'{folder}/images')
    rows = [f'{name},{"train" if i % 2 else "test"},{i % 2},{i // 2 % 2}' for i, name in enumerate(names)]
    Path(folder, 'labels.csv').write_text('\n'.join(['file,split,a,b', *rows]) + '\n')
    return names


def checked(some: list[Odd]) -> Command:
    labelled(some, 'photos')
    return ['mlsgm', 'check', 'photos', 'data.on_error=skip', '--json', 'out.json', *CHEAP]


def broken(some: list[Odd]) -> Any:
    """Whether a survey lists the pictures that cannot be read, and no others."""

    def check(result: Result) -> str:
        found = json.loads(Path('out.json').read_text())['broken']
        there = {name[1:4]: error for name, error in found.items()}
        return _as_wanted(some, [there.get(f'{i:03}', '') for i in range(len(some))], result)

    return check


def trained(stock: Stock, few: list[Odd]) -> list[str]:
    """The photographs of the stock and some more that train."""
    shutil.copytree(stock.photos, 'photos')
    names = write(few, 'more')
    with open('photos/labels.csv', 'a') as file:
        for i, name in enumerate(names):
            shutil.move(f'more/{name}', f'photos/images/{name}')
            file.write(f'{name},{"test" if i % 3 else "train"},1,0,1\n')
    return ['photos', *TRAIN, 'runs_dir=runs']


def skipped(few: list[Odd]) -> Any:
    """Whether a run names the pictures that it could not read."""

    def check(result: Result) -> str:
        found = [json.loads(path.read_text())['skipped'] for path in Path('runs').rglob('result.json')]
        wanted = {f'x{i:03}' for i in range(len(few)) if i % 3}  # Of those of the other part some fit thresholds.
        lost = [sorted(wanted - {one.split()[-1][:4] for one in skipped}) for skipped in found]
        return '' if found and not any(lost) else f'lost: {lost}'

    return check
