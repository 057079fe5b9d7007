"""Runs that were never trained: their scores are made up, their images and labels are those of tiny scenes."""

import json

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from experiments import figure
from mlsgm_pyg.app.data.parts import build_parts
from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.results.run import Run
from tests.app.finished_runs import result_of


@pytest.fixture
def scored(tiny, tmp_path):
    """Makes the directory of a run with random scores."""

    def make(*options, row='digits', seed=0, name='seed0-x'):
        config = tiny('data.test_images=30', *options, row=row)
        part = build_parts(config.data)[1]
        rng = np.random.default_rng(seed)
        kinds = ['logits'] if config.model.name == 'baseline' else ['graph', 'csac']
        y = part.y.numpy()
        found = {kind: (rng.normal(size=y.shape) + y - 0.5).astype(np.float32) for kind in kinds}
        index = np.arange(len(y))
        folder = tmp_path / 'runs' / row / name
        folder.mkdir(parents=True)
        scores.save(folder / 'scores.npz', {'index': index, 'instances': 1.0 + 0 * index, 'y': y, **found})
        config.seed = seed
        out = result_of(config, {'AP': dict.fromkeys(part.source.class_names, 50.0)}, len(y), score=kinds[0])
        (folder / 'result.json').write_text(json.dumps(out))
        OmegaConf.save(config, folder / 'config.yaml')
        return Run.read(folder)

    return make


@pytest.fixture
def draw_figure(tmp_path, capsys):
    """Runs the command line; returns what it printed and the sizes of the pictures in inches, after checking files."""

    def run(*words, status=0):
        assert figure.main([*map(str, words), '--out', str(tmp_path / 'out')]) == status
        told = capsys.readouterr()
        sizes = {}
        for path in sorted((tmp_path / 'out').glob('*')):
            assert (status or str(path) in told.out) and path.stat().st_size > 1000
            if path.suffix == '.png':
                with Image.open(path) as picture:
                    picture.load()
                    assert picture.format == 'PNG' and np.asarray(picture.convert('L')).std() > 1  # Not blank.
                    sizes[path.stem] = tuple(side / 200 for side in picture.size)
            elif path.suffix == '.pdf':
                assert path.read_bytes()[:5] == b'%PDF-' and b'%%EOF' in path.read_bytes()[-8:]
        return told, sizes

    return run
