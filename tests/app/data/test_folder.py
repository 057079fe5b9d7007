"""What in a folder is a picture, and what is told of the rest."""

import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mlsgm_pyg.app.common.text import ignored_words
from mlsgm_pyg.app.data.folder import search
from mlsgm_pyg.datasets import images


@pytest.fixture
def folder(tmp_path):
    """Pictures under several names and formats, and much that is none."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    for name, kind in [('a.JPG', 'JPEG'), ('b.jfif', 'JPEG'), ('bare', 'PNG'), ('sub/c.avif', 'AVIF'), ('icon', 'ICO')]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path, kind)
    Image.fromarray(pixels).save(tmp_path / 'drawing', 'EPS')
    for name in ('notes.txt', 'more.TXT', 'paper.pdf', 'drawing.eps', 'shot.heic', '.hidden.jpg', 'text', '.git'):
        (tmp_path / name).write_text('no picture')
    (tmp_path / 'sub' / '.trash').mkdir()
    (tmp_path / 'sub' / '.trash' / 'd.jpg').touch()
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'sub' / 'up').symlink_to('..')
    return tmp_path


def test_pictures_by_name_and_by_content(folder):
    ignored = Counter()
    found = [os.path.relpath(path, folder) for path in search(folder, ignored=ignored)]
    assert found == ['a.JPG', 'b.jfif', 'bare', 'sub/c.avif']
    assert ignored == {
        'hidden': 3,
        'linked (folder)': 1,
        'without a suffix that are no pictures': 4,  # EPS, an icon, a text, a pipe.
        '.txt': 2,
        '.pdf': 1,
        '.eps': 1,
        '.heic (this Pillow has no decoder)': 1,
    }
    assert ignored_words(ignored) == (
        'ignored: 4 without a suffix that are no pictures, 3 hidden, 2 .txt, 1 .eps, 1 .pdf, '
        '1 .heic (this Pillow has no decoder), 1 linked (folder)'
    )
    some = [folder / 'sub', folder / 'bare', folder / 'text']
    assert [os.path.relpath(path, folder) for path in search(folder, some)] == ['a.JPG', 'b.jfif']


def test_words_of_what_is_ignored():
    assert ignored_words({}) == ignored_words({'.txt': 0}) == ''
    assert ignored_words({'.a\n': 1200, '.\udcff': 1}) == 'ignored: 1,200 .a\\n, 1 .\\udcff'
    assert ignored_words({f'.{i}': 1 for i in range(20)}).endswith(' .7, and 12 more')


def test_a_pillow_without_the_decoder(folder, monkeypatch):
    known = Image.registered_extensions()
    monkeypatch.setattr(
        Image, 'registered_extensions', lambda: {key: kind for key, kind in known.items() if kind != 'AVIF'}
    )
    images.suffixes.cache_clear()
    try:
        ignored = Counter()
        assert len(list(search(folder, ignored=ignored))) == 3 and ignored['.avif (this Pillow has no decoder)'] == 1
    finally:
        images.suffixes.cache_clear()


def test_formats_that_nobody_means_stay_out():
    assert {'.jpg', '.jpeg', '.png', '.bmp', '.gif', '.tif', '.tiff', '.webp'} <= images.suffixes()
    assert not images.suffixes() & {'.pdf', '.eps', '.ps', '.ico', '.psd', '.wmf', '.mpg', '.h5'}


def test_ghostscript_is_never_run(folder, monkeypatch):
    """An EPS under a picture's name is no picture, either."""
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', lambda *of: pytest.fail('Ghostscript is run'))
    (folder / 'drawing').rename(folder / 'photo.jpg')
    with pytest.raises(images.ImageError) as caught:
        images.read_image(folder / 'photo.jpg')
    assert caught.value.reason == 'not an image of a known format, or broken from its first bytes on'
