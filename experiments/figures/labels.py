"""Figure 9: t-SNE of the labels' final vectors, beside the word vectors that they start from.

A final vector depends on the image; it is averaged over images drawn by a seed, or with `--sampled` those of single
images are shown. Vectors are brought to length one first. Lines join the labels that images show together most often
(images with both, of the images with either), one line a label on average. Colours are COCO's super concepts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures import choose
from experiments.figures.page import INK, PALE, Page
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import counted
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.semantics import fold

CONCEPTS = {
    'person': 'person',
    'vehicle': 'bicycle, car, motorcycle, airplane, bus, train, truck, boat, aeroplane, motorbike',
    'outdoor': 'traffic light, fire hydrant, stop sign, parking meter, bench',
    'animal': 'bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe',
    'accessory': 'backpack, umbrella, handbag, tie, suitcase',
    'sports': 'frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, '
    'tennis racket',
    'kitchen': 'bottle, wine glass, cup, fork, knife, spoon, bowl',
    'food': 'banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake',
    'furniture': 'chair, couch, potted plant, bed, dining table, toilet, sofa, diningtable, pottedplant',
    'electronic': 'tv, laptop, mouse, remote, keyboard, cell phone, tvmonitor',
    'appliance': 'microwave, oven, toaster, sink, refrigerator',
    'indoor': 'book, clock, vase, scissors, teddy bear, hair drier, toothbrush',
}
CONCEPT = {fold(name): concept for concept, names in CONCEPTS.items() for name in names.split(', ')}
COLOURS = dict(zip(
    [*CONCEPTS, 'other'],
    ['#c62828', '#1f4fbf', '#6d4c41', '#2e7d32', '#8e24aa', '#ef6c00', '#00838f', '#ad8b00', '#5d4037', '#455a64',
     '#d81b60', '#546e7a', '#8a8f98'],
))  # fmt: skip
FEW = 10  # Labels, of which a t-SNE says little.
PANEL = 4.6


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('words', nargs='+', metavar='RUN', help='a run directory; data.root=PATH if its images moved')
    parser.add_argument('--sampled', action='store_true', help='vectors of single images instead of their mean')
    parser.add_argument('--number', type=int, metavar='N', help='images (default: 200, or 20 with --sampled)')
    parser.add_argument('--seed', type=int, default=0, help='of the draw of images and of t-SNE (default: 0)')


def make(args: argparse.Namespace) -> Iterator[tuple[str, Figure]]:
    (run,) = choose.read_runs(args.words, 1, 'one run')
    number = args.number or (20 if args.sampled else 200)
    numbers = choose.drawn(range(len(run.y)), number, args.seed)
    final = label_vectors(run, numbers)  # [n, C, D]
    words = choose.as_array(run.model.word_vectors)
    mean = final.mean(0)
    before, after = (same_concept(run.class_names, vectors) for vectors in (words, mean))
    if after is not None:
        print(
            f'{run.folder}: the nearest label is of the same super concept for {after[0]} of {after[1]} labels by '
            f'final vectors (mean of {counted(len(numbers), "image")}), for {before[0]} by word vectors'
        )
    yield 'figure9', draw(run, words, final if args.sampled else mean, len(numbers), args.seed)


def label_vectors(run: Run, numbers: list[int]) -> np.ndarray:
    """The labels' final vectors in some images, [n, C, D]."""
    out = []
    with torch.no_grad():
        for batch in choose.batches(run, numbers):
            found = run.model(batch).label_x
            if found is None:
                raise ConfigError(f"the model of '{run.folder}' ({run.config.model.name}) has no final label vectors")
            out.append(choose.as_array(found))
    return np.concatenate(out)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-12)


def same_concept(names: list[str], vectors: np.ndarray) -> tuple[int, int] | None:
    """For how many labels the nearest other one by cosine is of the same super concept, of the labels of which there is
    another one; None where no concept has two."""
    concepts = [concept_of(name) for name in names]
    cosine = unit(vectors) @ unit(vectors).T
    np.fill_diagonal(cosine, -np.inf)
    nearest = cosine.argmax(1)
    asked = [i for i, one in enumerate(concepts) if one != 'other' and concepts.count(one) > 1]
    return (sum(concepts[nearest[i]] == concepts[i] for i in asked), len(asked)) if asked else None


def concept_of(name: str) -> str:
    return CONCEPT.get(fold(name), 'other')


def together(y: np.ndarray, number: int) -> list[tuple[int, int]]:
    """The pairs of labels that images show together most often: images with both, of the images with either."""
    there = (y == 1).astype(float)
    both = there.T @ there
    alone = np.diag(both)
    part = both / (alone[:, None] + alone[None] - both).clip(1)
    rows, columns = np.triu_indices(len(part), 1)
    order = np.argsort(-part[rows, columns], kind='stable')[:number]
    return [(int(rows[i]), int(columns[i])) for i in order if part[rows[i], columns[i]] > 0]


def embed(vectors: np.ndarray, seed: int) -> np.ndarray:
    """t-SNE in two dimensions of vectors [n, D], n >= 3; the perplexity suits their number."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, max((len(vectors) - 1) / 3, 1.0))
    return TSNE(2, perplexity=perplexity, init='pca', random_state=seed).fit_transform(unit(vectors))


def draw(run: Run, words: np.ndarray, final: np.ndarray, images: int, seed: int) -> Figure:
    names = run.class_names
    if len(names) < 3:
        raise ConfigError(f"t-SNE needs at least three labels ('{run.folder}' has {len(names)})")
    page = Page(2 * PANEL + 0.3, PANEL + 0.75)
    pairs = together(run.y, len(names))
    kind = 'in single images' if final.ndim == 3 else f'mean over {counted(images, "image")}'
    titles = f'word vectors ({words.shape[1]}-d)', f'final label vectors ({final.shape[-1]}-d), {kind}'
    for column, (title, vectors) in enumerate(zip(titles, (words, final))):
        axes = page.axes(0.1 + (PANEL + 0.1) * column, 0.35, PANEL, PANEL)
        axes.set_title(title, fontsize=9, color=INK, loc='left')
        points = embed(vectors.reshape(-1, vectors.shape[-1]), seed)
        _scatter(axes, points.reshape(-1, len(names), 2), names, pairs)
    _legend(page, names)
    return page.figure


def _scatter(axes: Axes, points: np.ndarray, names: list[str], pairs: list[tuple[int, int]]) -> None:
    """Points [n, C, 2], a name at the middle of each label's."""
    colours = [COLOURS[concept_of(name)] for name in names]
    middle = np.median(points, axis=0)
    for i, j in pairs:
        axes.plot(*middle[[i, j]].T, color='#b0b7bf', linewidth=0.8, zorder=1)
    if len(points) > 1:
        axes.scatter(*points.reshape(-1, 2).T, s=6, c=colours * len(points), alpha=0.45, linewidths=0, zorder=2)
    axes.scatter(*middle.T, s=26, c=colours, edgecolors='white', linewidths=0.6, zorder=3)
    for name, (x, y), colour in zip(names, middle, colours):
        axes.annotate(
            name, (x, y), (0, 4), textcoords='offset points', ha='center', fontsize=7 if len(names) < 40 else 5.5,
            color=colour, zorder=4, bbox={'facecolor': 'white', 'alpha': 0.6, 'linewidth': 0, 'pad': 0.4},
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color='#d0d7de')
    axes.margins(0.12)


def _legend(page: Page, names: list[str]) -> None:
    there = [concept for concept in COLOURS if any(concept_of(name) == concept for name in names)]
    there = [] if there == ['other'] else there  # One colour tells nothing.
    left = 0.1
    for concept in there:
        page.write(f'● {concept}', left, PANEL + 0.42, color=COLOURS[concept], fontsize=7.5)
        left += 0.3 + 0.068 * len(concept)
    few = f'Only {len(names)} labels: what is near here says little. ' if len(names) < FEW else ''
    text = f'{few}Lines: labels that images show together most often.'
    page.write(text, page.width - 0.1, PANEL + 0.42, ha='right', color=PALE, fontsize=7)
