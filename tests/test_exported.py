"""An exported file answers as its checkpoint does, and an ONNX file without torch."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mlsgm_pyg
from mlsgm_pyg.tagger import COLUMNS, Tagger

pytest.importorskip('onnxruntime', reason='needs the extra export')
ROOT = Path(__file__).resolve().parents[1]
SIZES = [(90, 60), (64, 64), (40, 100), (32, 32), (31, 200)]
REFUSE = """
import sys
class Refuse:
    def find_spec(self, name, *args):
        if name.partition('.')[0] in ('torch', 'torchvision', 'torch_geometric', 'scipy', 'skimage', 'sklearn'):
            raise ImportError(f'{name} is not installed here')
sys.meta_path.insert(0, Refuse())
import json, pickle
from mlsgm_pyg import Tagger
tagger = pickle.loads(pickle.dumps(Tagger(sys.argv[1], top_k=3, threshold=0.0)))
json.dump(tagger(sys.argv[2:]), sys.stdout)
"""


RUN = [sys.executable, '-c', REFUSE]


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    """Pictures that differ in size and orientation, and a file that is none."""
    folder, rng = tmp_path_factory.mktemp('photographs'), np.random.default_rng(0)
    for i, size in enumerate(SIZES):
        exif = Image.Exif()
        exif[0x0112] = 6 if i == 2 else 1
        small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        small.resize(size).save(folder / f'{i}.png', exif=exif)
    (folder / 'none.jpg').write_text('no image')
    return sorted(map(str, folder.iterdir()))


def test_without_torch(colours, photographs):
    """Amounts of colours as they are painted; boxes in the pixels of the stored picture, one of them turned."""
    run = subprocess.run([*RUN, colours, *photographs], cwd=ROOT, capture_output=True, text=True, check=True)
    got = json.loads(run.stdout)
    assert got == Tagger(colours, top_k=3, threshold=0.0)(photographs)
    for i, (width, height) in enumerate(SIZES):
        amounts = np.asarray(Image.open(photographs[i])).mean((0, 1)) / 255
        assert got['labels'][i] == [['red', 'green', 'blue'][c] for c in np.argsort(-amounts)]
        assert got['probabilities'][i] == pytest.approx(sorted(amounts, reverse=True), abs=0.02)
        x, y, w, h = (0.5, 0.5, 0.5, 0.25) if i == 2 else (0.25, 0.5, 0.25, 0.5)
        box = [x * width, y * height, w * width, h * height]
        assert [one['label'] for one in got['instances'][i]] == [None, 'green']
        assert got['instances'][i][1] == {'label': 'green', 'score': 0.75, 'box': box}
        assert got['boxes'][i] == [box if label == 'green' else [0, 0, width, height] for label in got['labels'][i]]


@pytest.mark.slow
def test_it_says_what_the_checkpoint_says(onnx_file, checkpoint, photographs):
    run = subprocess.run([*RUN, onnx_file, *photographs], cwd=ROOT, capture_output=True, text=True, check=True)
    assert_same(json.loads(run.stdout), Tagger(checkpoint, top_k=3, threshold=0.0)(photographs))


def assert_same(got, want):
    """Columns that differ by no more than rounding."""
    assert list(got) == list(want) == list(COLUMNS)
    for name in ('file', 'width', 'height', 'orientation', 'labels', 'error'):
        assert got[name] == want[name]
    for a, b in zip(got['probabilities'], want['probabilities'], strict=True):
        assert a == pytest.approx(b, abs=1e-5)
    for a, b in zip(got['instances'], want['instances'], strict=True):
        assert [one['label'] for one in a] == [one['label'] for one in b]
        assert np.allclose([one['box'] for one in a], [one['box'] for one in b], atol=1e-3)
        assert np.allclose([one['score'] for one in a], [one['score'] for one in b], atol=1e-5)


def test_columns(checkpoint, photographs):
    """An entry a picture, as the predictions have it; plain, also for Parquet."""
    model = mlsgm_pyg.load(checkpoint)
    columns, found = Tagger(checkpoint, batch_size=2)(photographs), model.predict(photographs, on_error='keep')
    assert columns['file'] == photographs and columns['error'] == [None] * 5 + [found[-1].error]
    for i, one in enumerate(found):
        assert (columns['width'][i], columns['height'][i]) == one.size
        assert columns['labels'][i] == one.labels and columns['best'][i] == one.best
        assert columns['probabilities'][i] == pytest.approx(one.probabilities, abs=1e-5)
        assert [tuple(box) for box in columns['boxes'][i]] == [one.instances[j].box for j in one.best]
        assert [box['label'] for box in columns['instances'][i]] == [instance.label for instance in one.instances]
    assert pickle.loads(pickle.dumps(columns)) == json.loads(json.dumps(columns)) == columns
    pyarrow = pytest.importorskip('pyarrow')
    kept = pyarrow.table(columns).to_pydict()
    every = kept.pop('every')  # A column of one schema: of what could not be read each label has None.
    assert kept == {name: column for name, column in columns.items() if name != 'every'}
    assert every[:5] == columns['every'][:5] and set(every[5].values()) == {None}


def test_pictures_of_every_kind(colours, photographs):
    tagger = Tagger(colours)
    want, held = tagger(photographs[0]), Path(photographs[0]).read_bytes()
    pixels = np.asarray(Image.open(photographs[0]).convert('RGB'))
    for images in (held, [held], np.array([held], object), pixels, torch.from_numpy(pixels.transpose(2, 0, 1).copy())):
        assert tagger(images) == want | {'file': [None]}
    assert tagger([]) == {name: [] for name in COLUMNS}
    with pytest.raises(ValueError, match='this model has no activation maps: .* or it was exported'):
        mlsgm_pyg.predict(colours, photographs[:1], maps=True)
    (found,) = mlsgm_pyg.predict(colours, photographs[:1], graph=True)
    assert found.labels == want['labels'][0] and found.maps is found.match is found.near is None


def test_a_tagger_is_pickled_by_its_path(checkpoint, photographs):
    tagger = Tagger(checkpoint, threshold=0.2, upright=True)
    data = pickle.dumps(tagger)
    assert len(data) < 1000
    assert pickle.loads(data)(photographs) == tagger(photographs)
    with pytest.raises(TypeError, match='a Tagger is pickled by its path: make it of a file, not of a built model'):
        pickle.dumps(Tagger(mlsgm_pyg.load(checkpoint)))


def test_errors(colours, tmp_path):
    for options, names in [({'view': 'paper'}, 'view'), ({'labels': ['a'], 'image_size': 7}, 'labels, image_size')]:
        with pytest.raises(ValueError, match=rf'onnx. is an exported file, whose {names} cannot be chosen'):
            Tagger(colours, **options)
    with pytest.raises(FileNotFoundError, match="there is no exported file 'no.onnx'"):
        Tagger('no.onnx')
    (tmp_path / 'bad.onnx').write_bytes(b'nothing')
    with pytest.raises(ValueError, match=r"bad\.onnx' is not a readable \.onnx file: ") as raised:
        Tagger(tmp_path / 'bad.onnx')
    assert '\n' not in str(raised.value)
    import onnx

    model = onnx.load(colours)
    for name, value, told in [
        ('view', '"train"', "has format version 1, view 'train'; this installation reads version 1 and fixed views"),
        ('class_names', None, 'was not written by mlsgm export: it does not say its class_names'),
    ]:
        kept = {entry.key: entry.value for entry in model.metadata_props} | {name: value}
        other = onnx.ModelProto.FromString(model.SerializeToString())
        onnx.helper.set_model_props(other, {key: value for key, value in kept.items() if value is not None})
        onnx.save(other, tmp_path / 'other.onnx')
        with pytest.raises(ValueError, match=told):
            Tagger(tmp_path / 'other.onnx')


@pytest.mark.slow
def test_a_program(checkpoint, photographs, tmp_path):
    from mlsgm_pyg.export import to_torch_export

    to_torch_export(mlsgm_pyg.load(checkpoint), tmp_path / 'x.pt2')
    assert_same(Tagger(tmp_path / 'x.pt2', batch_size=3)(photographs), Tagger(checkpoint)(photographs))
