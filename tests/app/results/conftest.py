import json
import shutil

import pytest

from mlsgm_pyg.app.results import scores as score_files


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
            score_files.save(target / 'scores.npz', scores)
        return target

    return make
