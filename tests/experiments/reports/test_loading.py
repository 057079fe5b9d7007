import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import mlsgm_pyg
from experiments import reported
from experiments.reports import loading


@pytest.fixture
def run(trained):
    return reported.load(Path(trained['folder']))


def test_what_is_there_gives_the_scores_of_the_evaluation(run):
    part, model = loading.test_part(run), loading.load_model(run)
    for row, found in enumerate(model.predict([part.source.image(row) for row in part.rows])):
        p = dict(zip(found.labels, found.probabilities))
        told = [p[name] for name in run.class_names]
        np.testing.assert_allclose(told, run.p[row], atol=2e-3)  # The maps were kept in half precision.


def changed(run, tmp_path, **options):
    """The run with other data options."""
    out = json.loads(json.dumps(run.out))
    out['config']['data'] |= options
    return reported.Reported(out, run.folder, run.scores)


def test_images_that_are_gone_or_others_are_named(run, tmp_path):
    with pytest.raises(loading.Gone, match=r'the images cannot be read: .*nowhere'):
        loading.test_part(changed(run, tmp_path, name='csv', root=str(tmp_path / 'nowhere')))
    with pytest.raises(loading.Gone, match='changed since: it has 5 images to test on, and had at least 13'):
        loading.test_part(changed(run, tmp_path, test_images=5))
    run.scores = run.scores | {'y': 1 - run.y}
    with pytest.raises(loading.Gone, match='its labels are others'):
        loading.test_part(run)


def test_other_classes_are_named(run, tmp_path):
    def told(names):
        out = json.loads(json.dumps(run.out))
        out['metrics']['AP'] = dict.fromkeys(names, 50.0)
        with pytest.raises(loading.Gone) as error:
            loading.test_part(reported.Reported(out, run.folder, run.scores))
        return str(error.value).removeprefix('the data set has changed since: ')

    first, second, *rest = run.class_names
    assert told([first, 'eule', *rest]) == f"it has other classes (new: '{second}'; gone: 'eule')"
    assert told([second, first, *rest]) == 'its classes are in another order'
    assert told([first, *rest]) == f"it has other classes (new: '{second}')"


def test_a_checkpoint_that_is_gone_or_broken_is_named(run, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(run.folder, folder)
    run.folder = folder
    (folder / 'last.ckpt').write_bytes(b'broken')
    with pytest.raises(loading.Gone, match=r'the model cannot be loaded: .*last.ckpt is not a readable checkpoint'):
        loading.load_model(run)
    (folder / 'last.ckpt').unlink()
    with pytest.raises(loading.Gone, match=r"there is no '.*last.ckpt' any more"):
        loading.load_model(run)
    run.out = run.out | {'select': 'best'}  # Its scores are those of the best epoch.
    assert loading.load_model(run).class_names == mlsgm_pyg.load(folder / 'best.ckpt').class_names
