import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mlsgm_pyg.datasets import (
    CsvDataset,
    EpochSampler,
    ImageDataset,
    ImageError,
    Subset,
    build_view,
    collate,
)


@pytest.fixture
def folder(tmp_path):
    """Seven photographs, the third cut short: columns cat and dog, image i has i in binary."""
    rng = np.random.default_rng(1)
    rows = ['file,cat,dog']
    for i in range(7):
        noise = rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f'{i}.png')
        rows.append(f'{i}.png,{i & 1},{i >> 1 & 1}')
    (tmp_path / 'labels.csv').write_text('\n'.join(rows))
    return tmp_path


@pytest.fixture
def broken(folder):
    path = folder / '2.png'
    path.write_bytes(path.read_bytes()[:200])
    return folder


def test_item(folder):
    source = CsvDataset(folder)
    item = ImageDataset(source)[5]
    assert item['image'].dtype == torch.uint8 and item['image'].is_contiguous() and item['index'] == 5
    np.testing.assert_array_equal(item['image'].permute(1, 2, 0), np.asarray(Image.open(folder / '5.png')))
    assert item['y'].tolist() == [1, 0] and item['y'].dtype == torch.int8
    image, y = source[5]
    assert image.size == (30, 25) and y.tolist() == [1, 0]
    assert str(source) == 'CsvDataset(7, num_classes=2)'


def test_subset(folder):
    source = CsvDataset(folder)
    subset = Subset(source, [6, 3])
    assert subset.files == ['6.png', '3.png'] and subset.class_names == ['cat', 'dog']
    assert torch.equal(subset.y, source.y[[6, 3]])
    assert subset.image(0).tobytes() == source.image(6).tobytes()
    assert str(subset) == 'Subset(2, num_classes=2)' and len(Subset(subset, [1])) == 1
    assert Subset(source, []).y.shape == (0, 2)


def test_collate(folder):
    data = ImageDataset(CsvDataset(folder), build_view('resize', 16))
    batch = collate([data[4], data[1]])
    assert batch['image'].shape == (2, 3, 16, 16) and batch['image'].dtype == torch.uint8
    assert torch.equal(batch['image'][1], data[1]['image'])
    assert batch['y'].tolist() == [[0, 0], [1, 0]] and batch['y'].dtype == torch.int8
    assert batch['index'].tolist() == [4, 1] and batch['index'].dtype == torch.int64
    assert batch['skipped'] == []
    raw = ImageDataset(CsvDataset(folder))
    with pytest.raises(ValueError, match=r'must have one size: give the data set a view \(got \[\(3, 20, 30\), \(3, 2'):
        collate([raw[0], raw[1]])


def test_broken_image_raises_with_its_name_and_number(broken):
    data = ImageDataset(CsvDataset(broken), build_view('resize', 16))
    with pytest.raises(ImageError, match=r"cannot read image 2, '.*2\.png': "):
        data[2]
    with pytest.raises(ImageError, match=r"cannot read image 2, '.*2\.png': "):  # Its number in the whole data set.
        ImageDataset(Subset(data.source, [2]))[0]
    with pytest.raises(ValueError, match=r"'on_error' must be one of raise, skip \(got 'ignore'\)"):
        ImageDataset(data.source, on_error='ignore')


@pytest.mark.parametrize('num_workers', [0, 2])
def test_broken_image_is_skipped_and_counted(broken, num_workers):
    data = ImageDataset(CsvDataset(broken), build_view('resize', 16), on_error='skip')
    loader = DataLoader(data, batch_size=3, num_workers=num_workers, collate_fn=collate)
    batches = list(loader)
    assert [batch['skipped'] for batch in batches] == [[2], [], []]
    assert torch.cat([batch['index'] for batch in batches]).tolist() == [0, 1, 3, 4, 5, 6]
    assert torch.equal(torch.cat([batch['y'] for batch in batches]), data.source.y[[0, 1, 3, 4, 5, 6]])
    assert '2.png' in data[2]['error']


def test_a_batch_may_lose_all_its_images(broken):
    data = ImageDataset(CsvDataset(broken), build_view('resize', 16), on_error='skip')
    batch = collate([data[2], data[2]])
    assert batch['image'].shape == (0, 3, 16, 16) and batch['image'].dtype == torch.uint8
    assert batch['y'].shape == (0, 2) and batch['y'].dtype == torch.int8
    assert batch['index'].shape == (0,) and batch['index'].dtype == torch.int64
    assert batch['skipped'] == [2, 2]


def test_missing_image_is_skipped_too(folder):
    (folder / '3.png').unlink()
    source = CsvDataset(folder, missing='skip')
    assert 'FileNotFoundError' in ImageDataset(source, on_error='skip')[3]['error']
    with pytest.raises(ImageError, match=r"cannot read image 3, '.*3\.png': FileNotFoundError"):
        ImageDataset(source)[3]


def load(data, num_workers, epochs=2, **options):
    """All images by (epoch, index), however they come."""
    sampler = EpochSampler(len(data), seed=5)
    options = dict(persistent_workers=num_workers > 0, **options)
    loader = DataLoader(data, 2, sampler=sampler, num_workers=num_workers, collate_fn=collate, **options)
    images = {}
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        data.set_epoch(epoch)
        for batch in loader:
            images |= {(epoch, i): image for i, image in zip(batch['index'].tolist(), batch['image'])}
    return images


def test_augmentation_depends_on_seed_epoch_and_index_only(folder):
    data = ImageDataset(CsvDataset(folder), build_view('train', 14), seed=1)
    images = load(data, 0)
    assert len(images) == 14
    for num_workers in (1, 2):
        other = load(ImageDataset(CsvDataset(folder), build_view('train', 14), seed=1), num_workers)
        assert other.keys() == images.keys()
        assert all(torch.equal(images[key], other[key]) for key in images)
    assert data.epoch == 1
    assert all(torch.equal(data[i]['image'], images[1, i]) for i in (6, 0, 3))
    assert any(not torch.equal(images[0, i], images[1, i]) for i in range(7))
    seeded = load(ImageDataset(CsvDataset(folder), build_view('train', 14), seed=2), 0)
    assert any(not torch.equal(images[key], seeded[key]) for key in images)


def test_augmentation_leaves_the_global_random_state(folder):
    data = ImageDataset(CsvDataset(folder), build_view('train', 14))
    torch.manual_seed(0)
    expected = torch.rand(4)
    torch.manual_seed(0)
    data[0]
    assert torch.equal(torch.rand(4), expected)
