import math

import pytest
import torch
from torch.nn.functional import pad

from mlsgm_pyg.regions import boxes, connected_components

BACKENDS = ['skimage', 'torch']


def slow_segments(mask):
    """All 8-connected segments of a mask in the order of their first pixels, by flood fill."""
    height, width = mask.shape
    left = {(i, j) for i in range(height) for j in range(width) if mask[i, j]}
    segments = []
    for pixel in sorted(left):
        stack, segment = [pixel] if pixel in left else [], []
        left.discard(pixel)
        while stack:
            i, j = stack.pop()
            segment.append((i, j))
            near = {(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)} & left
            left -= near
            stack += near
        segments += [segment] if segment else []
    return segments


def slow_box(map, threshold=0.2):
    """The definition, pixel by pixel."""
    segment = max(slow_segments(map >= threshold * map.max()), key=len)  # The first of the longest.
    rows, columns = [i for i, _ in segment], [j for _, j in segment]
    y, x, (height, width) = min(rows), min(columns), map.shape
    sides = (max(columns) + 1 - x) / width, (max(rows) + 1 - y) / height
    return torch.tensor([x / width, y / height, *sides])


def spiral(size):
    """A one-pixel wide path that winds to the middle, with one-pixel gaps: the longest detour there is."""
    mask = torch.zeros(size, size)
    i, j, di, dj = 0, 0, 0, 1
    mask[0, 0] = 1
    for _ in range(2 * size):
        while 0 <= i + di < size and 0 <= j + dj < size:
            ahead = i + 2 * di, j + 2 * dj
            if 0 <= min(ahead) and max(ahead) < size and mask[ahead]:
                break
            i, j = i + di, j + dj
            mask[i, j] = 1
        di, dj = dj, -di
    return mask


def maze(rows, columns):
    """Winding corridors without loops through every even cell, carved by a random walk that backtracks."""
    mask = torch.zeros(2 * rows - 1, 2 * columns - 1)
    path = [(0, 0)]
    while path:
        i, j = path[-1]
        mask[2 * i, 2 * j] = 1
        steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
        steps = [(k, m) for k, m in steps if 0 <= i + k < rows and 0 <= j + m < columns]
        steps = [(k, m) for k, m in steps if not mask[2 * (i + k), 2 * (j + m)]]
        if not steps:
            path.pop()
            continue
        k, m = steps[int(torch.randint(len(steps), ()))]
        mask[2 * i + k, 2 * j + m] = 1
        path.append((i + k, j + m))
    return mask


def random_maps(num_maps, height, width):
    """Maps of every density: noise above and below the threshold, few values (many ties), zeros, ones, one pixel."""
    maps = torch.rand(num_maps, height, width)
    maps *= maps < torch.rand(num_maps, 1, 1) * 1.2
    maps[1::5] = (maps[1::5] * 3).round() / 3
    maps[2::25] = 0
    maps[3::25] = 0.7
    maps[4::25] = 0
    maps[4::25, torch.randint(height, ()), torch.randint(width, ())] = 1e-3
    return maps


def test_backends_are_equal_on_ten_thousand_maps():
    for _ in range(200):
        height, width = torch.randint(1, 15, (2,)).tolist()
        maps = random_maps(50, height, width)
        expected = boxes(maps, backend='skimage')
        assert torch.equal(boxes(maps, backend='torch'), expected)
        for i in torch.randint(50, (2,)).tolist():
            torch.testing.assert_close(expected[i], slow_box(maps[i]))


@pytest.mark.parametrize('backend', BACKENDS)
def test_boxes_by_hand(backend):
    a_map = torch.tensor(
        [
            [0.9, 0.0, 0.0, 0.0, 0.3],
            [0.0, 0.2, 0.0, 0.0, 0.3],  # Diagonal neighbours are connected.
            [0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.17, 0.2, 0.3, 0.0],  # 0.17 is below 0.2 * 0.9; the largest segment need not hold the maximum.
        ]
    )
    # Three segments of two pixels: the one with the upper left pixel, of the map and of its mirror image.
    out = boxes(torch.stack([a_map, a_map.flip(1)]), backend=backend)
    assert out.tolist() == torch.tensor([[0, 0, 0.4, 0.5], [0, 0, 0.2, 0.5]]).tolist()
    a_map[3, 1] = 0.18
    assert boxes(a_map[None], backend=backend)[0].tolist() == torch.tensor([0.2, 0.75, 0.6, 0.25]).tolist()
    assert boxes(a_map[None], 1.0, backend)[0].tolist() == torch.tensor([0, 0, 0.2, 0.25]).tolist()
    assert boxes(a_map[None], 0.0, backend)[0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize('backend', BACKENDS)
def test_special_maps(backend):
    one = torch.zeros(4, 8)
    one[2, 3] = 1e-30
    out = boxes(torch.stack([torch.zeros(4, 8), torch.ones(4, 8), one]), backend=backend)
    assert out.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [3 / 8, 2 / 4, 1 / 8, 1 / 4]]
    assert boxes(torch.rand(2, 1, 1), backend=backend).tolist() == [[0, 0, 1, 1]] * 2
    assert boxes(torch.rand(0, 3, 4), backend=backend).shape == (0, 4)
    one[0, 0], negative = math.nan, -torch.ones(4, 8)
    out = boxes(torch.stack([one, torch.ones(4, 8), negative]), backend=backend)
    assert out.isnan().all(1).tolist() == [True, False, True]


@pytest.mark.parametrize('size', range(1, 30, 4))
def test_spirals_and_mazes_are_one_segment(size):
    size = 2 * size + 1
    path = spiral(size)
    if size > 5:
        assert (path[:, size // 2] == 0).any()  # It does wind.
    masks = [path, path.flip(0), path.T, *(maze(size // 2 + 1, size // 2 + 1) for _ in range(2))]
    for mask in masks:
        assert len(slow_segments(mask)) == 1
    inside = torch.stack(masks).bool()
    root = connected_components(inside)
    for mask, label in zip(inside, root):
        assert label[mask].unique().numel() == 1
        assert torch.equal(label[~mask], torch.arange(size * size)[~mask.flatten()])
    for backend in BACKENDS:
        assert boxes(inside.float(), backend=backend).tolist() == [[0, 0, 1, 1]] * len(masks)


def test_connected_components_equal_flood_fill():
    mask = torch.rand(60, 11, 9) < torch.linspace(0.1, 0.7, 60).view(-1, 1, 1)
    for inside, label in zip(mask, connected_components(mask)):
        segments = slow_segments(inside)
        names = [{int(label[pixel]) for pixel in segment} for segment in segments]
        assert all(len(name) == 1 for name in names)
        assert len(set().union(*names)) == len(segments)


@pytest.mark.parametrize('backend', BACKENDS)
def test_laws(backend):
    maps = random_maps(150, 7, 11)
    lengths = [sorted(map(len, slow_segments(m >= 0.2 * m.max()))) for m in maps]
    maps = maps[[i for i, n in enumerate(lengths) if len(n) == 1 or n[-1] > n[-2]]]  # A tie depends on the row order.
    assert maps.size(0) > 75
    box = boxes(maps, backend=backend)
    x, y, w, h = box.unbind(1)
    for other, expected in (
        (maps.flip(2), (1 - x - w, y, w, h)),
        (maps.flip(1), (x, 1 - y - h, w, h)),
        (maps.transpose(1, 2), (y, x, h, w)),
        (maps / 2, (x, y, w, h)),
    ):
        torch.testing.assert_close(boxes(other, backend=backend), torch.stack(expected, 1))
    assert torch.equal(torch.cat([boxes(m[None], backend=backend) for m in maps]), box)
    assert torch.equal(boxes(maps.flip(0), backend=backend), box.flip(0))

    maps = maps[maps.flatten(1).amax(1) > 0]  # A map of zeros is full, wherever it is put.
    x, y, w, h = boxes(maps, backend=backend).unbind(1)
    expected = torch.stack([(11 * x + 3) / 16, (7 * y + 1) / 12, 11 * w / 16, 7 * h / 12], 1)
    torch.testing.assert_close(boxes(pad(maps, (3, 2, 1, 4)), backend=backend), expected)


@pytest.mark.parametrize('backend', BACKENDS)
def test_the_threshold_is_taken_in_the_precision_of_the_maps(backend):
    value = torch.tensor(0.2, dtype=torch.bfloat16)  # 0.2002 once rounded, as 0.2 * 1 is.
    below = torch.tensor(0.2 - 1e-9, dtype=torch.float64)
    for maps, width in ((torch.stack([torch.ones_like(value), value]), 1), (torch.stack([below / below, below]), 0.5)):
        out = boxes(maps.view(1, 1, 2), backend=backend)
        assert out.dtype == (torch.float64 if maps.dtype == torch.float64 else torch.float32)
        assert out.tolist() == [[0, 0, width, 1]]


def test_maps_are_left_alone_and_boxes_have_no_gradient():
    maps = random_maps(5, 4, 6).requires_grad_()
    before = maps.detach().clone()
    strided = torch.stack([maps, maps], dim=-1)[..., 1]
    for backend in ['auto', *BACKENDS]:
        assert torch.equal(boxes(strided, backend=backend), boxes(maps))
        assert not boxes(maps, backend=backend).requires_grad
    assert torch.equal(maps, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_a_gpu_without_waiting_for_it():
    maps = random_maps(200, 14, 14)
    on_gpu = maps.cuda()
    boxes(on_gpu)
    torch.cuda.set_sync_debug_mode('error')
    try:
        out = boxes(on_gpu)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert out.device == on_gpu.device
    assert torch.equal(out.cpu(), boxes(maps))
    assert torch.equal(boxes(on_gpu, backend='skimage'), out)


@pytest.mark.parametrize(
    'shape,options,message',
    [
        ((3, 3), {}, r"'maps' must be \[N, h, w\] with at least one pixel \(got \[3, 3\]\)"),
        ((3, 0, 3), {}, r"'maps' must be \[N, h, w\] with at least one pixel \(got \[3, 0, 3\]\)"),
        ((1, 3, 3), {'threshold': 1.5}, r"'threshold' must be a share of the maximum in \[0, 1\] \(got 1.5\)"),
        ((1, 3, 3), {'backend': 'scipy'}, r"'backend' must be one of auto, skimage, torch \(got 'scipy'\)"),
    ],
)
def test_errors(shape, options, message):
    with pytest.raises(ValueError, match=message):
        boxes(torch.ones(shape), **options)
