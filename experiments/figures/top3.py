"""Figure 6: the three most probable labels of ML-SGM beside the baseline's."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from experiments.figures import choose
from experiments.figures.page import OURS, PALE, THEIRS, Page, Words, shrink
from mlsgm_pyg.app.common.text import cut
from mlsgm_pyg.app.results.run import Run

K = 3
COLUMNS, CELL, PICTURE = 4, 2.75, 1.75
BELOW = 1.05  # Inches of text below a picture.


def arguments(parser: argparse.ArgumentParser) -> None:
    help = 'two run directories, ML-SGM and the baseline; data.root=PATH if their images moved'
    parser.add_argument('words', nargs='+', metavar='RUN', help=help)
    parser.add_argument('--differ', action='store_true', help='only images on which the two name other labels')
    choose.add_choice(parser, 8)


def make(args: argparse.Namespace) -> Iterator[tuple[str, Figure]]:
    runs = choose.read_runs(args.words, 2, 'two runs, ML-SGM and its baseline')
    choose.check_same(runs)
    tops = [top(run.probabilities()) for run in runs]
    counts = [found(one, run.y) for one, run in zip(tops, runs)]
    for run, (right, could) in zip(runs, counts):
        share = 100 * right / max(could, 1)
        print(f'{run.name}: {right} of the {could} labels that three an image can name ({share:.1f} %)')
    numbers = choose.named(runs[0], args.images) if args.images else chosen(runs[0], tops, args)
    yield 'figure6', draw(runs, tops, counts, numbers)


def top(p: np.ndarray) -> np.ndarray:
    """The most probable labels of each image, [n, K]; of equal ones the first."""
    return np.argsort(-p, axis=1, kind='stable')[:, :K]


def found(labels: np.ndarray, y: np.ndarray) -> tuple[int, int]:
    """How many of the labels that are there were named, and how many could have been."""
    right = np.take_along_axis(y, labels, axis=1) == 1
    return int(right.sum()), int(np.minimum((y == 1).sum(1), labels.shape[1]).sum())


def chosen(run: Run, tops: list[np.ndarray], args: argparse.Namespace) -> list[int]:
    """Images at random among those with two labels or more, or with `--differ` among those whose top three differ."""
    eligible = (run.y == 1).sum(1) >= 2
    if args.differ:
        eligible &= (np.sort(tops[0]) != np.sort(tops[1])).any(1)
    return choose.drawn(np.flatnonzero(eligible), args.number, args.seed)


def draw(runs: list[Run], tops: list[np.ndarray], counts: list[tuple[int, int]], numbers: list[int]) -> Figure:
    columns = min(COLUMNS, max(len(numbers), 1))
    rows = -(-len(numbers) // columns)
    page = Page(max(columns * CELL, 5.5) + 0.1, 0.42 + rows * (PICTURE + BELOW))
    left = 0.1
    for run, (right, could), colour in zip(runs, counts, (OURS, THEIRS)):
        text = f'{run.name}: {100 * right / max(could, 1):.1f} % of {could} labels among the top {K}'
        page.write(text, left, 0.1, color=colour, fontsize=8, weight='bold')
        left += max(2.7, 0.075 * len(text))
    for place, number in enumerate(numbers):
        left, upper = 0.1 + CELL * (place % columns), 0.42 + (PICTURE + BELOW) * (place // columns)
        page.picture(shrink(choose.picture(runs[0], number)), left, upper, CELL - 0.15, PICTURE)
        for column, (run, labels, colour) in enumerate(zip(runs, tops, (OURS, THEIRS))):
            lines = [Words(line(run, number, label), colour, run.y[number, label] == 1) for label in labels[number]]
            page.lines(lines, left + 1.32 * column, upper + PICTURE + 0.07)
        there = [name for name, y in zip(runs[0].class_names, runs[0].y[number]) if y == 1] or ['nothing']
        truth = textwrap.wrap(f'truth: {", ".join(there)}', 46, max_lines=2, placeholder=' …')
        page.lines([Words(text, PALE) for text in truth], left, upper + PICTURE + 0.6, 7)
    return page.figure


def line(run: Run, number: int, label: int) -> str:
    mark = {1: '✓', 0: '✗'}.get(int(run.y[number, label]), '?')
    return f'{mark} {cut(run.class_names[label], 14)} {run.probabilities()[number, label]:.2f}'
