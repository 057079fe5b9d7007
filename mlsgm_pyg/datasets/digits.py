"""Embedded scenes of handwritten digits: real strokes, made-up scenes, no download."""

from functools import cache, lru_cache

import numpy as np
import torch
from PIL import Image

from mlsgm_pyg.datasets.base import LabelledImages
from mlsgm_pyg.names import check_choice

NAMES = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine']
THEMES = [(0, 1, 3), (1, 5, 9), (2, 7, 8), (4, 6, 7), (0, 8, 9), (2, 3, 4)]  # Digits that come together.
EXCLUSIVE = [(1, 7), (3, 8), (4, 9), (5, 6)]  # Lookalikes that never share a scene.
NUM_IMAGES = {'train': 2000, 'test': 500}
CELLS = 3  # A scene is a grid of 3 x 3 cells; each holds a digit, a piece of clutter, or nothing.
MAX_DIGITS = 5
STEP = 50  # Scenes drawn at a time: few enough for the processor's cache.


class Digits(LabelledImages):
    r"""Coloured, cluttered scenes with one to five handwritten digits (scikit-learn's), drawn by a seed.

    Which digits share a scene has a structure that a label graph can learn:

    - each scene has one of six :obj:`THEMES` of three digits, each of which is there with probability 0.75 (at least
      one is); every digit has one or two themes. In about one scene of seven a stray digit joins, and in one of four a
      digit comes twice;
    - the lookalikes in :obj:`EXCLUSIVE` never share a scene, and their themes differ: a doubtful stroke is told from
      its company.

    Digits are of any strength, from glaring to hardly seen. Between them lie halves of other digits and plain strokes,
    on a textured background with a gradient and noise. Training and test scenes use different digit images (of each
    class, the first two thirds and the last third of scikit-learn's list), whatever the seed. Scene :obj:`i` depends
    on (:obj:`seed`, :obj:`split`, :obj:`i`, :obj:`size`) only, so more images keep the first ones. A mirrored digit is
    none: train without flips.

    Args:
        split (str): :obj:`'train'` or :obj:`'test'`.
        size (int): Side of a scene in pixels, at least 32. (default: :obj:`96`)
        num_images (int, optional): Number of scenes. (default: 2,000 for training, 500 for test)
        seed (int): Seed of the scenes. (default: :obj:`0`)

    Raises:
        ValueError: If the split is unknown, or a number is too small.
    """

    def __init__(self, split: str = 'train', size: int = 96, num_images: int | None = None, seed: int = 0):
        check_choice('split', split, NUM_IMAGES)
        if size < 32:
            raise ValueError(f"'size' must be at least 32 pixels (got {size})")
        num_images = NUM_IMAGES[split] if num_images is None else num_images
        if num_images < 1:
            raise ValueError(f"'num_images' must be at least 1 (got {num_images})")
        self.split = split
        self.class_names = list(NAMES)
        self.files = [f'{split}-{i:05d}' for i in range(num_images)]
        self.images, y, self._places = all_scenes(split, size, num_images, seed)
        self.y = torch.from_numpy(y.copy())

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index])

    def places(self, index: int) -> list[tuple[int, tuple[float, float, float, float]]]:
        """Every digit of a scene: its class, and the square that it was painted in, (x, y, width, height) in [0, 1]."""
        return [(int(label), (x, y, side, side)) for label, x, y, side in self._places[index].tolist() if label >= 0]


class Uniforms:
    """Takes columns of random numbers in [0, 1) off an array (n, K), one row a scene."""

    def __init__(self, values: np.ndarray):
        self.values = values
        self.used = 0

    def take(self, *shape: int) -> np.ndarray:
        num = int(np.prod(shape))
        self.used += num
        assert self.used <= self.values.shape[1]
        return self.values[:, self.used - num : self.used].reshape(-1, *shape)

    def between(self, low: float, high: float, *shape: int) -> np.ndarray:
        return low + (high - low) * self.take(*shape)


@lru_cache(maxsize=4)
def all_scenes(split: str, size: int, num_images: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first scenes of a split, drawn once in a process and shared by all that ask for them: not to be written."""
    parts = [draw_scenes(split, size, range(i, min(i + STEP, num_images)), seed) for i in range(0, num_images, STEP)]
    scenes = tuple(np.concatenate(arrays) for arrays in zip(*parts))
    for array in scenes:
        array.flags.writeable = False
    return scenes


def draw_scenes(split: str, size: int, numbers: range, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws the scenes of the given numbers: images (n, size, size, 3), labels (n, 10), and each digit's class (-1:
    none), left, top and side, as parts of the scene (n, MAX_DIGITS, 4)."""
    rngs = [np.random.default_rng([seed % 2**64, split == 'train', i]) for i in numbers]
    draw = Uniforms(np.stack([rng.random(512, dtype=np.float32) for rng in rngs]))
    labels = draw_labels(draw)
    glyphs, classes = glyph_bank(split)
    canvas = draw_background(draw, size)
    ground = canvas.mean((1, 2))

    order = draw.take(CELLS**2).argsort(1)  # The cell of each piece: digits in the first pieces, then clutter.
    places = np.full((len(numbers), MAX_DIGITS, 4), -1.0)
    places[..., 0] = labels
    for piece in reversed(range(CELLS**2)):
        chosen, visible = choose_glyphs(draw, labels, piece, classes, len(glyphs))
        where = paint(draw, canvas, glyphs[chosen], visible, order[:, piece], ground, faint=piece >= MAX_DIGITS)
        if piece < MAX_DIGITS:
            places[:, piece, 1:] = where / size
    noise = np.stack([rng.standard_normal((size, size, 3), dtype=np.float32) for rng in rngs])
    canvas += noise * draw.between(0.02, 0.06, 1, 1, 1)
    y = np.zeros((len(numbers), 10), dtype=np.int8)
    scene, piece = (labels >= 0).nonzero()
    y[scene, labels[scene, piece]] = 1
    return (canvas.clip(0, 1) * 255).round().astype(np.uint8), y, places


def draw_labels(draw: Uniforms) -> np.ndarray:
    """The digits of each scene, (n, MAX_DIGITS): three of the theme, the stray, the double; -1 where there is none."""
    theme = np.array(THEMES)[(draw.take() * len(THEMES)).astype(int)]
    there = draw.take(3) < 0.75
    there[np.arange(len(there)), (draw.take() * 3).astype(int)] = True
    digits = np.where(there, theme, -1)
    stray = (draw.take() * 10).astype(int)
    rival = np.full(10, -2)
    for a, b in EXCLUSIVE:
        rival[a], rival[b] = b, a
    welcome = ~((digits == stray[:, None]) | (digits == rival[stray][:, None])).any(1)
    stray = np.where(welcome & (draw.take() < 0.25), stray, -1)
    double = np.take_along_axis(digits, (draw.take() * 3).astype(int)[:, None], 1)[:, 0]
    double = np.where(draw.take() < 1 / 3, double, -1)
    return np.column_stack([digits, stray, double])


def choose_glyphs(
    draw: Uniforms, labels: np.ndarray, piece: int, classes: np.ndarray, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """The glyph of one piece of each scene, and whether it is drawn at all."""
    pick = draw.take()
    if piece >= MAX_DIGITS:
        clutter = len(classes) + (pick * (total - len(classes))).astype(int)
        return clutter, draw.take() < 0.4
    first = np.searchsorted(classes, np.arange(11))
    label = labels[:, piece]
    chosen = first[label] + (pick * (first[label + 1] - first[label])).astype(int)
    return np.where(label >= 0, chosen, 0), label >= 0


@cache
def glyph_bank(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The digits of one split, sorted by class, then clutter: halves of them and strokes; (G, 10, 10), and classes.

    The border of zeros is for bilinear sampling.
    """
    from sklearn.datasets import load_digits  # Slow to import, and only needed here.

    data = load_digits()
    order = np.argsort(data.target, kind='stable')
    place = np.concatenate([np.arange(n) / n for n in np.bincount(data.target)])  # Position in its own class.
    order = order[(place < 2 / 3) == (split == 'train')]
    digits = (data.images[order] / 16).astype(np.float32)
    at = np.linspace(-1, 1, 8, dtype=np.float32)
    left = np.broadcast_to(at < 0, (8, 8))
    half = np.stack([left, ~left, left.T, ~left.T])
    halves = digits[::2] * half[np.arange(len(digits[::2])) % 4]
    angle = np.linspace(0, np.pi, 32, endpoint=False, dtype=np.float32)[:, None, None]
    bend = np.linspace(-0.6, 0.6, 4, dtype=np.float32).repeat(8)[:, None, None]
    along = np.cos(angle) * at + np.sin(angle) * at[:, None]
    across = np.cos(angle) * at[:, None] - np.sin(angle) * at + bend * along**2
    strokes = np.exp(-((across / 0.2) ** 2)) * (abs(along) < 0.9)
    glyphs = np.concatenate([digits, halves, strokes.repeat(len(halves) // 32, 0)])
    return np.pad(glyphs, ((0, 0), (1, 1), (1, 1))), data.target[order]


def draw_background(draw: Uniforms, size: int) -> np.ndarray:
    """A gradient between two colours, a coarse texture and stripes; (n, size, size, 3)."""
    at = np.linspace(-1, 1, size, dtype=np.float32)
    angle = draw.between(0, 2 * np.pi, 1, 1)
    ramp = (np.cos(angle) * at + np.sin(angle) * at[:, None])[..., None]
    colour = draw.between(0.05, 0.25, 3)[:, None, None]
    slope = draw.between(-0.1, 0.1, 3)[:, None, None]
    coarse = draw.between(-0.1, 0.1, 6, 6, 3)
    nodes = np.arange(6, dtype=np.float32)
    weight = np.maximum(1 - abs(np.linspace(0, 5, size, dtype=np.float32)[:, None] - nodes), 0)  # Bilinear.
    texture = np.einsum('yi,nijc,xj->nyxc', weight, coarse, weight, optimize=True)
    wave = np.sin(ramp * draw.between(5, 40, 1, 1, 1) + draw.between(0, 6.3, 1, 1, 1))
    return (colour + slope * ramp + texture + wave * draw.between(0, 0.04, 1, 1, 1)).astype(np.float32)


def paint(
    draw: Uniforms,
    canvas: np.ndarray,
    glyphs: np.ndarray,
    visible: np.ndarray,
    cell: np.ndarray,
    ground: np.ndarray,
    faint: bool,
) -> np.ndarray:
    """Paints one glyph (n, 10, 10) into one cell of each scene: turned, scaled and coloured; returns left, top and side
    of its square in pixels (n, 3)."""
    num, size = canvas.shape[:2]
    side = size / CELLS
    height = draw.between(0.95, 1.2) * side
    angle = draw.between(-0.2, 0.2)
    centre = (np.stack([cell // CELLS, cell % CELLS], 1).astype(np.float32) + 0.5 + draw.between(-0.1, 0.1, 2)) * side
    centre = centre.clip(height[:, None] / 2, size - height[:, None] / 2)  # Whole digits only.
    brighter = draw.between(0.2 if faint else 0.45, 0.75, 1)
    colour = (ground + (brighter + draw.between(-0.2, 0.2, 3)))[:, None, None]

    span = int(np.ceil(1.2 * 1.2 * side))
    corner = np.clip(np.floor(centre - span / 2), 0, size - span).astype(int)
    row = corner[:, :1] + np.arange(span)  # (n, span)
    column = corner[:, 1:] + np.arange(span)
    y = ((row + 0.5 - centre[:, :1]) * (8 / height)[:, None]).astype(np.float32)[:, :, None]
    x = ((column + 0.5 - centre[:, 1:]) * (8 / height)[:, None]).astype(np.float32)[:, None, :]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    alpha = sample(glyphs, cos * y - sin * x + 4.5, sin * y + cos * x + 4.5)
    alpha *= (visible * draw.between(0.15, 1))[:, None, None]

    pixels = np.arange(num)[:, None, None], row[:, :, None], column[:, None, :]
    canvas[pixels] += alpha[..., None] * (colour - canvas[pixels])
    top, left = (centre - height[:, None] / 2).T
    return np.stack([left, top, height], 1)


def sample(glyphs: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bilinear values of glyphs (n, 10, 10) at points (n, ...), zero outside."""
    y, x = y.clip(0, 8.999), x.clip(0, 8.999)
    row, column = y.astype(np.int32), x.astype(np.int32)
    y, x = y - row.astype(np.float32), x - column.astype(np.float32)
    flat = glyphs.reshape(-1)
    at = np.arange(len(glyphs))[:, None, None] * 100 + row * 10 + column
    left, right = flat.take(at), flat.take(at + 1)
    top = left + (right - left) * x
    left, right = flat.take(at + 10), flat.take(at + 11)
    return top + (left + (right - left) * x - top) * y
