"""Figure 5: wrong and missed labels, with the threshold that lost them.

A label is missed where it is there and its probability stays below 0.5. Which step lost it: CSAC's score did not pass
gamma, so no instance came from its class map; its score did, but others filled all the places for instances; or it
had its instance, and the graph still matched it below 0.5. A label is wrong where it is not there, at 0.5 or more.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures import choose
from experiments.figures.page import INK, LINE, MISSED, PALE, RIGHT, WRONG, Page, Words, shrink
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import counted, cut
from mlsgm_pyg.app.results.analysis import POSITIVE
from mlsgm_pyg.app.results.run import Run

FOUND, BELOW_GAMMA, NO_PLACE, UNMATCHED = range(4)
CAUSES = {BELOW_GAMMA: '#1b5e20', NO_PLACE: '#8d6e00', UNMATCHED: '#81c784'}
CELL, PICTURE, ROWS = 2.15, 1.6, 8  # Inches of a column and of a picture; lines below it.
SHOWN = 24  # Labels in the bars.


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('words', nargs='+', metavar='RUN', help='a run directory; data.root=PATH if its images moved')
    parser.add_argument(
        '--labels', nargs=2, metavar='NAME', help='the label in the wrong row and the one in the missed row'
    )
    choose.add_choice(parser, 5)


def make(args: argparse.Namespace) -> Iterator[tuple[str, Figure]]:
    (run,) = choose.read_runs(args.words, 1, 'one run')
    lost, wrong = missed(run), wrong_labels(run)
    told(run, lost, wrong)
    yield 'figure5', draw(run, lost, rows_of(run, lost, wrong, args))


def missed(run: Run) -> np.ndarray:
    """Which step lost each label of each image, [n, C]; `FOUND` where nothing was lost."""
    out = np.where((run.y == 1) & (run.probabilities() < POSITIVE), UNMATCHED, FOUND)
    if not has_instances(run):
        return out
    p = run.probabilities('csac')
    order = np.argsort(-np.nan_to_num(p, nan=-1.0), axis=1, kind='stable')  # As CSAC ranks its classes.
    rank = np.argsort(order, axis=1)
    options = run.config.model
    selected = p > np.float32(options.gamma)
    out = np.where((out == UNMATCHED) & ~selected, BELOW_GAMMA, out)
    return np.where((out == UNMATCHED) & (rank >= options.max_instances), NO_PLACE, out)


def has_instances(run: Run) -> bool:
    """Whether the run's model takes its instances from class maps."""
    return 'csac' in run.scores


def wrong_labels(run: Run) -> np.ndarray:
    return (run.y == 0) & (run.probabilities() >= POSITIVE)


def told(run: Run, lost: np.ndarray, wrong: np.ndarray) -> None:
    """Prints what was lost where, over all images."""
    parts = [f'{int((lost == cause).sum())} {words}' for cause, words in cause_words(run).items()]
    print(
        f'{run.folder}: {int(wrong.sum())} wrong and {int((lost > 0).sum())} missed of {int((run.y == 1).sum())} '
        f'labels on {counted(len(run.y), "image")}; missed: {", ".join(parts)}'
    )


def cause_words(run: Run) -> dict[int, str]:
    options = run.config.model
    if not has_instances(run):
        return {UNMATCHED: f'p < {POSITIVE}'}
    return {
        BELOW_GAMMA: f'no instance: CSAC ≤ γ = {options.gamma:g}',
        NO_PLACE: f'no instance: not among the best {options.max_instances}',
        UNMATCHED: f'an instance, but p < {POSITIVE}',
    }


def rows_of(run: Run, lost: np.ndarray, wrong: np.ndarray, args: argparse.Namespace) -> list[tuple[str, list[int]]]:
    """The two rows of pictures: a title, and the numbers of images."""
    if args.images:
        return [('', choose.named(run, args.images))]
    chosen = choose.label_numbers(run, args.labels) if args.labels else [None, None]
    out = []
    for kind, errors, label in (('wrong', wrong, chosen[0]), ('missed', lost > 0, chosen[1])):
        label = int(errors.sum(0).argmax()) if label is None else label
        images = np.flatnonzero(errors[:, label])
        if len(images) == 0 and args.labels:
            raise ConfigError(f"'{run.folder}' has no image in which '{run.class_names[label]}' is {kind}")
        title = f'“{run.class_names[label]}”, {kind} in {len(images)} of {counted(len(run.y), "image")}'
        out.append((title, choose.drawn(images, args.number, args.seed)))
    return [(title, images) for title, images in out if images]


def draw(run: Run, lost: np.ndarray, rows: list[tuple[str, list[int]]]) -> Figure:
    columns = max([len(images) for _, images in rows], default=1)
    below = [[lines(run, lost, image) for image in images] for _, images in rows]
    heights = [PICTURE + 0.45 + LINE * max(map(len, texts)) for texts in below]
    tops, bars = [0.35 + sum(heights[:i]) for i in range(len(rows))], 2.4
    page = Page(max(columns * CELL + 0.2, 6.5), 0.35 + sum(heights) + bars)
    page.write('✗ wrong', 0.1, 0.08, color=WRONG, fontsize=8)
    page.write('○ missed, and the step that lost it', 0.85, 0.08, color=MISSED, fontsize=8)
    page.write('✓ right', 3.05, 0.08, fontsize=8)
    for (title, images), texts, top in zip(rows, below, tops):
        page.write(title, 0.1, top, weight='bold', fontsize=9)
        for column, image in enumerate(images):
            left = 0.1 + CELL * column
            page.picture(shrink(choose.picture(run, image)), left, top + 0.25, CELL - 0.12, PICTURE)
            page.lines(texts[column], left, top + PICTURE + 0.32)
    _bars(page.axes(0.5, page.height - bars + 0.35, page.width - 0.65, bars - 1.05), run, lost)
    return page.figure


def lines(run: Run, lost: np.ndarray, image: int) -> list[Words]:
    """What is said below a picture: wrong and missed labels, then right ones, then the truth."""
    p, y = run.probabilities()[image], run.y[image]
    csac = run.probabilities('csac')[image] if has_instances(run) else None
    out = []
    for label in np.argsort(-p, kind='stable'):
        name = cut(run.class_names[label], 18)
        if p[label] >= POSITIVE and y[label] == 0:
            out.append(Words(f'✗ {name}  {p[label]:.2f}', WRONG, True))
        if lost[image, label]:
            out += [Words(f'○ {name}  {p[label]:.2f}', MISSED, True)]
            if csac is not None:
                out += [Words(f'    {reason(run, lost[image, label], csac, label)}', MISSED)]
    room = ROWS - 1
    out = out if len(out) <= room else [*out[: room - 1], Words(f'and {len(out) - room + 1} more', PALE)]
    right = [f'{run.class_names[i]} {p[i]:.2f}' for i in np.argsort(-p) if p[i] >= POSITIVE and y[i] == 1]
    out += [Words(cut(f'✓ {text}', 32), RIGHT) for text in right[: room - len(out)]]
    there = [name for name, value in zip(run.class_names, y) if value == 1] or ['nothing']
    return [*out, Words(cut(f'truth: {", ".join(there)}', 36), PALE)]


def reason(run: Run, cause: int, csac: np.ndarray, label: int) -> str:
    """Why a missed label was lost, with the numbers."""
    gamma = run.config.model.gamma
    if cause == BELOW_GAMMA:
        return f'CSAC {csac[label]:.2f} ≤ γ {gamma:g}'
    place = 1 + int(np.flatnonzero(np.argsort(-csac, kind='stable') == label)[0])
    if cause == NO_PLACE:
        return f'CSAC {csac[label]:.2f}, but no. {place} of {run.config.model.max_instances}'
    return f'instance (CSAC {csac[label]:.2f}), not matched'


def _bars(axes: Axes, run: Run, lost: np.ndarray) -> None:
    """Missed labels of each class by cause, upwards; wrong ones downwards."""
    wrong = wrong_labels(run).sum(0)
    errors = wrong + (lost > 0).sum(0)
    order = [i for i in np.argsort(-errors, kind='stable')[:SHOWN] if errors[i]]
    at, bottom = np.arange(len(order)), np.zeros(len(order))
    for cause, words in cause_words(run).items():
        values = (lost == cause).sum(0)[order]
        axes.bar(at, values, bottom=bottom, color=CAUSES[cause], width=0.7, label=f'missed, {words}')
        bottom += values
    axes.bar(at, -wrong[order], color=WRONG, width=0.7, label=f'wrong, p ≥ {POSITIVE}')
    names = [f'{cut(run.class_names[i], 16)} ({int((run.y[:, i] == 1).sum())})' for i in order]
    axes.set_xticks(at, names, rotation=40, ha='right', rotation_mode='anchor', fontsize=7)
    axes.yaxis.set_major_formatter(lambda value, _: f'{abs(value):g}')
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set_ylabel('images', fontsize=8)
    axes.tick_params(labelsize=7)
    axes.margins(x=0.01)
    axes.legend(fontsize=7, frameon=False, ncols=4, loc='lower left', bbox_to_anchor=(0, 1.0), borderaxespad=0)
