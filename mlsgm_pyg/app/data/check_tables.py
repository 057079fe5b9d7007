"""The text of a survey."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mlsgm_pyg.app.common.tables import Table, say, terminal
from mlsgm_pyg.app.common.text import counted, ignored_words, readable, some

LISTED = 10  # Names of a list that are printed; --json has them all,
CLASSES = 1000  # and all of these.


def show(out: dict[str, Any]) -> None:
    """Prints a survey, see :func:`mlsgm_pyg.app.data.check_folder.survey`."""
    console = terminal()
    drawn = ' (dealt out by a seed: the file names none)' if out['splits_drawn'] else ''
    parts = ', '.join(f'{images} {name}' for name, images in out['splits'].items())
    size = f'{counted(out["images"], "image")}, {counted(len(out["classes"]), "class", "classes")}'
    say([f'{out["root"]}: {size}; {parts}{drawn}'], console)
    for table in tables(out):
        table.print(console)
    say(_lines(out), console)


def tables(out: dict[str, Any]) -> list[Table]:
    """The images with each class, the labels an image, and the pairs of classes, where there are any."""
    return [_counts(out), _histogram(out), *([_pairs(out)] if out['pairs'] else [])]


def _lines(out: dict[str, Any]) -> Iterator[str]:
    """What is told below the tables: sizes, what is odd, and the command that trains."""
    yield from _sizes(out['sizes'])
    yield from _listed('Images that cannot be read', [f'{file}: {reason}' for file, reason in out['broken'].items()])
    yield from _listed('Images that the label file does not list', map(readable, out['not_listed']))
    if told := ignored_words(out['ignored']):
        yield told
    for key, what in {'dark': 'nearly black (as 12 bits are that lie in 16)', 'flat': 'of one colour alone'}.items():
        if files := out[key]:
            yield f'Images that are {what}: {len(files)} ({some(files)})'
    same = out['same_content']
    across = sum(group['across_splits'] for group in same)
    differ = sum(group['labels_differ'] for group in same)
    about = f' ({across} in several splits, {differ} with different labels)' if same else ''
    yield from _listed(f'Equal files under several names{about}', [' = '.join(group['files']) for group in same])
    near = out['near']
    across = sum(len(set(pair['splits'])) > 1 for pair in near)
    differ = sum(pair['labels_differ'] for pair in near)
    about = f' ({across} in two splits: trained on and tested on; {differ} with different labels)' if near else ''
    yield from _listed(f'Pairs of images that look the same{about}', map(_near, near))
    yield from _listed('One file name in several folders or capitals', [', '.join(group) for group in out['same_name']])
    yield from _doubt(out['doubt'])
    for name, lacking in out['without_positive'].items():
        yield from _listed(f'Classes without a positive in {name}, which mAP leaves out', lacking)
    found = out['semantics']
    yield from _listed(f"Classes without a word vector in '{found['source']}'", found['without_vector'])
    for reason in out['stops']:
        yield f'Training would stop: {reason}'
    yield f'\nTo train, the images and vectors being as they are:\n{out["command"]}'


def _doubt(found: dict[str, Any]) -> Iterator[str]:
    """The labels in doubt, or why there are none."""
    if found['reason']:
        yield f'Labels in doubt: not looked for: {found["reason"]}'
        return
    less = f' (not of {some(found["classes_left_out"])}: known in too few images)' if found['classes_left_out'] else ''
    told = []
    for one in found['labels']:
        answer = 'is given' if one['given'] else 'is not given'
        told.append(f'{one["file"]}: {one["label"]} {answer}, probability {one["probability"]:.2f}')
    yield from _listed(f'Labels in doubt, by the other images, most first{less}', told)


def _near(pair: dict[str, Any]) -> str:
    first, second = (f'{file} ({split})' for file, split in zip(pair['files'], pair['splits']))
    return f'{first} ~ {second}' + ', with different labels' * pair['labels_differ']


def _listed(title: str, items: Iterable[str]) -> Iterator[str]:
    """A list, cut where it is long."""
    items = list(items)
    yield f'{title}: {len(items) or "none"}'
    yield from (f'  {item}' for item in items[:LISTED])
    if len(items) > LISTED:
        yield f'  ... and {len(items) - LISTED} more (--json FILE lists all)'


def _counts(out: dict[str, Any]) -> Table:
    unknown = any(cell['unknown'] for part in out['counts'].values() for cell in part.values())
    columns = ['class']
    for name in out['splits']:
        columns += [name, '%', *(['unknown'] if unknown else [])]
    table = Table('Images with each class' + (' (and with unknown labels)' if unknown else ''), columns)
    if (more := len(out['classes']) - CLASSES) > 0:
        table.notes.append(f'... and {more:,} more (--json FILE lists all)')
    for label in out['classes'][:CLASSES]:
        cells = []
        for name in out['splits']:
            cell = out['counts'][name][label]
            known = cell['present'] + cell['absent']
            share = f'{100 * cell["present"] / known:.1f}' if known else '-'
            cells += [str(cell['present']), share, *([str(cell['unknown'])] if unknown else [])]
        table.rows.append([label, *cells])
    return table


def _histogram(out: dict[str, Any]) -> Table:
    numbers = sorted({int(number) for part in out['labels_per_image'].values() for number in part})
    table = Table('Labels that are there, by image', ['labels an image', *map(str, numbers), 'mean'])
    for name, part in out['labels_per_image'].items():
        images = sum(part.values())
        mean = sum(int(number) * times for number, times in part.items()) / max(images, 1)
        table.rows.append([name, *(str(part.get(str(number), 0)) for number in numbers), f'{mean:.2f}'])
    return table


def _pairs(out: dict[str, Any]) -> Table:
    columns = ('a', 'b', 'images with both', 'P(b | a)', 'P(a | b)', 'lift', 'correlation')
    table = Table('Classes that come together most, by their correlation', columns, left=2)
    for pair in out['pairs']:
        given = f'{pair["second_given_first"]:.2f}', f'{pair["first_given_second"]:.2f}'
        much = f'{pair["lift"]:.1f}', f'{pair["correlation"]:.2f}'
        table.rows.append([*pair['classes'], str(pair['together']), *given, *much])
    return table


def _sizes(found: dict[str, Any]) -> Iterator[str]:
    if found:
        for key in ('width', 'height', 'shorter side'):
            part = found[key]
            yield f'{key}: {part["smallest"]} to {part["largest"]} pixels, median {part["median"]:g}'
        for key in ('modes', 'formats'):
            yield f'{key}: ' + ', '.join(f'{name} {times}' for name, times in found[key].items())
