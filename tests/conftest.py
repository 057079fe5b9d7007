"""What tests have: few threads, a fixed seed, the real photographs where they lie beside the clone, and tiny runs."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import experiments  # noqa: F401  (The paper's rows are there for every test, whichever run beside it.)
from mlsgm_pyg.app.config import load as configs

ROOT = Path(__file__).resolve().parents[1]
COCO18 = ROOT.parent / 'shared' / 'data' / 'coco18'

torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(autouse=True)
def seed() -> None:
    """The same random numbers in every test, whichever tests ran before it."""
    random.seed(12345)  # PyG's fake data sets draw from it.
    torch.manual_seed(12345)
    np.random.seed(12345)  # noqa: NPY002


@pytest.fixture(scope='session')
def coco18() -> Path:
    """The folder of the 7,000 COCO photographs (`labels.csv`, `images/`)."""
    if not (COCO18 / 'labels.csv').is_file():
        pytest.skip('the coco18 photographs are not beside this clone (../shared/data/coco18/labels.csv)')
    return COCO18


# A run of a second: few small scenes, a narrow model.
TINY = [
    'model.score=graph',
    'data.image_size=32',
    'data.scene_size=32',
    'data.num_images=21',
    'data.test_images=13',
    'data.batch_size=8',
    'data.tune=0',
    'data.num_workers=0',
    'model.last_stride=1',
    'model.feature_channels=16',
    'model.hidden_channels=8',
    'model.encoder_channels=8',
    'model.block_channels=8,8',
    'model.decoder_channels=8',
    'model.csac_input=reduced',
    'model.score_pooling=max',
    'model.maps=sigmoid',
    'model.box_threshold=0.2',
    'trainer.max_epochs=2',
    'trainer.accelerator=cpu',
    'trainer.enable_progress_bar=false',
]


FROZEN = ['model.freeze_backbone=true', 'features.cache=true', 'model.feature_dropout=0.3']
MANY = ['model.gamma=0.04', 'model.max_instances=4']  # Below the prior, so that there are instances at once.


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Makes the config of a tiny run in a folder of its own."""
    monkeypatch.setenv('MLSGM_CACHE', str(tmp_path / 'maps'))

    def make(*overrides, row='digits'):
        return configs.load(row, [*TINY, f'runs_dir={tmp_path / "runs"}', *overrides])

    return make


@pytest.fixture(scope='session')
def narrow():
    """Options of a tiny run."""
    return TINY


@pytest.fixture
def frozen():
    """Options of a run on the cached maps of a frozen backbone."""
    return FROZEN


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """The result of one tiny run on cached maps, whose images have several instances; only to be looked at."""
    from mlsgm_pyg.app.training import train

    folder = tmp_path_factory.mktemp('trained')
    folders = [f'runs_dir={folder / "runs"}', f'features.dir={folder / "maps"}']
    return train.run(configs.load('digits', [*TINY, *FROZEN, *MANY, *folders]), command='the command')


@pytest.fixture
def stored(tiny, trained):
    """Makes the config of a run on the stored graphs of :func:`trained`, with its maps at hand."""
    maps = trained['config']['features']['dir']
    csac = Path(trained['folder']) / 'last.ckpt'
    given = [*FROZEN, *MANY, 'graphs.store=true', f'graphs.csac={csac}', f'features.dir={maps}']
    return lambda *more: tiny(*given, *more)


@pytest.fixture
def photos(tmp_path):
    """Options of a run on a folder of images, of which one to train on and one to test on cannot be read."""
    folder = tmp_path / 'photos'
    (folder / 'images').mkdir(parents=True)
    lines = ['file,split,red,green,blue']
    rng = np.random.default_rng(0)
    for i in range(34):
        y = (rng.random(3) < 0.5).astype(int)
        noise = rng.integers(0, 156, (24, 24, 3)) + 100 * y
        Image.fromarray(noise.astype(np.uint8)).save(folder / 'images' / f'{i}.png')
        lines.append(f'{i}.png,{"train" if i < 21 else "test"},{",".join(map(str, y))}')
    (folder / 'labels.csv').write_text('\n'.join(lines) + '\n')
    for i in (5, 24):  # The second process's, of two.
        (folder / 'images' / f'{i}.png').write_bytes(b'not an image')
    return ['data.name=csv', f'data.root={folder}', 'model.gamma=0.04']


@pytest.fixture
def command_line():
    """Makes the words of a command from a config, and runs them in a process of their own."""

    def words(config):
        options = {}
        for key, value in OmegaConf.to_container(config).items():
            inside = value.items() if isinstance(value, dict) else ()
            options |= {f'{key}.{name}': part for name, part in inside} if inside else {key: value}
        del options['row'], options['seeds']
        return [
            f'{key}={value if isinstance(value, str) else json.dumps(value)}'
            for key, value in options.items()
            if value != ''
        ]

    def start(*words, check=True):
        env = dict(os.environ, OMP_NUM_THREADS='1')
        command = [sys.executable, '-m', 'experiments.run', *words]
        pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
        process = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True, **pipes)
        try:
            out, err = process.communicate(timeout=600)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # The processes that it started, too.
            raise
        assert not check or process.returncode == 0, err
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    start.words = words
    return start


@pytest.fixture(scope='session')
def checkpoint(trained):
    return Path(trained['folder']) / 'last.ckpt'


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Seven pictures in 'my ü/', of which one lies in a folder of its own and one is stored on its side."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for i in range(7):
        path = tmp_path / 'my ü' / ('sub' if i == 6 else '.') / f'{i} é.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 6 if i == 3 else 1
        small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        small.resize((40 + i, 30)).save(path, exif=exif)
    return tmp_path / 'my ü'


@pytest.fixture
def call(checkpoint, capsys):
    """Runs the command in this process; returns its exit status, standard output and error."""

    def run(*words, checkpoint=checkpoint):
        from mlsgm_pyg.app.cli import predict

        quiet = ['--workers', '0', '--batch-size', '2', '--accelerator', 'cpu']
        status = predict.main([str(checkpoint), *quiet, *map(str, words)])
        out, err = capsys.readouterr()
        assert 'Traceback' not in out + err
        return status, out, err

    return run


@pytest.fixture
def copy(trained, tmp_path):
    """Makes copies of a finished run under other names, with what is to differ."""

    def make(name, folder='seed0-x', scores=None, **changes):
        target = tmp_path / 'runs' / name / folder
        shutil.copytree(trained['folder'], target, ignore=shutil.ignore_patterns('*.ckpt', 'tensorboard'))
        out = json.loads((target / 'result.json').read_text()) | {'name': name}
        for key, value in changes.items():
            place = out
            *above, last = key.split('__')
            for part in above:
                place = place[part]
            place[last] = value
        (target / 'result.json').write_text(json.dumps(out))
        if scores is not None:
            from mlsgm_pyg.app.results import scores as score_files

            score_files.save(target / 'scores.npz', scores)
        return target

    return make


@pytest.fixture(scope='session')
def onnx_file(checkpoint, tmp_path_factory):
    """The checkpoint of that run as an ONNX file; ten seconds."""
    pytest.importorskip('onnxscript', reason='needs the extra export')
    import mlsgm_pyg
    from mlsgm_pyg.export import to_onnx

    path = tmp_path_factory.mktemp('exported') / 'x.onnx'
    to_onnx(mlsgm_pyg.load(checkpoint), path)
    return str(path)


@pytest.fixture(scope='session')
def colours(tmp_path_factory):
    """An ONNX file like an exported one: how red, green and blue a picture is, and two instances of its three slots."""
    onnx = pytest.importorskip('onnx', reason='needs the extra export')
    make, tensor = onnx.helper, onnx.helper.make_tensor_value_info
    whole, left = [0, 0, 1, 1], [0.25, 0.5, 0.25, 0.5]
    constants = {
        'axes': np.array([2, 3]), 'most': np.array([255], np.float32),
        'boxes': np.array([[whole, left, left]], np.float32), 'labels': np.array([[-1, 1, 2]]),
        'scores': np.array([[1, 0.75, 0]], np.float32), 'valid': np.array([[True, True, False]]),
        'best': np.array([[0, 1, 0]]),
    }  # fmt: skip
    nodes = [
        make.make_node('Cast', ['image'], ['float'], to=onnx.TensorProto.FLOAT),
        make.make_node('ReduceMean', ['float', 'axes'], ['mean'], keepdims=0),
        make.make_node('Div', ['mean', 'most'], ['probabilities']),
        make.make_node('Shape', ['image'], ['batch'], start=0, end=1),
    ]
    outputs = [tensor('probabilities', onnx.TensorProto.FLOAT, ['batch', 3])]
    for name in ('boxes', 'labels', 'scores', 'valid', 'best'):
        value = constants.pop(name)
        constants |= {f'{name}_': value, f'{name}_rest': np.ones(value.ndim - 1, np.int64)}
        nodes += [
            make.make_node('Concat', ['batch', f'{name}_rest'], [f'{name}_shape'], axis=0),
            make.make_node('Expand', [f'{name}_', f'{name}_shape'], [name]),
        ]
        outputs.append(tensor(name, make.np_dtype_to_tensor_dtype(value.dtype), ['batch', *value.shape[1:]]))
    held = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    image = tensor('image', onnx.TensorProto.UINT8, ['batch', 3, 8, 8])
    opset = [make.make_opsetid('', 18)]
    graph = make.make_graph(nodes, 'colours', [image], outputs, held)
    model = make.make_model(graph, opset_imports=opset, ir_version=9)
    about = {'format_version': 1, 'class_names': ['red', 'green', 'blue'], 'view': 'resize', 'image_size': 8}
    about |= {'input': {'dtype': 'uint8'}, 'instance_names': None}
    make.set_model_props(model, {key: json.dumps(value) for key, value in about.items()})
    path = tmp_path_factory.mktemp('exported') / 'colours.onnx'
    onnx.save(model, path)
    return str(path)
