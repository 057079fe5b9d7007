"""What figures read of runs, and one line for each thing that is not there."""

import json

import numpy as np
import pytest

from experiments import figure
from experiments.figures import choose
from mlsgm_pyg.app.data.parts import build_parts
from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.results.run import Run


def test_an_image_is_the_evaluated_one(scored):
    run = scored('data.test_limit=7')
    config = run.config
    part = build_parts(config.data)[1]
    assert len(run.y) == 7 and choose.files(run) == part.files
    for i in range(7):
        np.testing.assert_array_equal(np.asarray(choose.picture(run, i)), np.asarray(part.source.image(part.rows[i])))


def test_some_images_may_have_been_left_out(scored):
    run = scored()
    kept = [1, 4, 29]
    scores.save(run.folder / 'scores.npz', {key: value[kept] for key, value in run.scores.items()})
    again = Run.read(run.folder)
    assert choose.files(again) == [choose.files(run)[i] for i in kept]
    np.testing.assert_array_equal(np.asarray(choose.picture(again, 2)), np.asarray(choose.picture(run, 29)))


def test_draws_depend_on_the_seed_alone():
    assert choose.drawn(range(100), 5, 3) == choose.drawn(np.arange(100), 5, 3) != choose.drawn(range(100), 5, 4)
    assert sorted(choose.drawn([7, 8], 5, 0)) == [7, 8]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['5', '{runs}/nothing'], "'{runs}/nothing' is not the directory of a run: there is no such folder"),
        (['5', '{out}'], "'{out}' is not the directory of a run: it has no result.json"),
        (['5', '{runs}/digits'], "'{runs}/digits' holds 2 runs, name one: {runs}/digits/"),
        (['5', '{a}', '{b}'], 'this figure is of one run (got {a} {b})'),
        (['6', '{a}'], 'this figure is of two runs, ML-SGM and its baseline (got {a})'),
        (['5', '{a}', 'data.limit=3'], "a finished run takes data.root, data.labels, data.images alone (got 'data.lim"),
        (['5', '{a}', '--images', 'test-000.pn'], "'{a}' was not evaluated on an image 'test-000.pn': "),
        (['5', '{a}', '--labels', 'tow', 'two'], "'{a}' has no label 'tow': did you mean 'two'?"),
        (['7', '{a}', '{b}'], "there is no '{a}/last.ckpt' any more"),
        (['9', '{a}'], "there is no '{a}/last.ckpt' any more"),
    ],
)
def test_errors(words, message, scored, tmp_path, capsys):
    a, b = scored(name='a').folder, scored(name='b').folder
    (tmp_path / 'out').mkdir()
    places = {'runs': tmp_path / 'runs', 'out': tmp_path / 'out', 'a': a, 'b': b}
    assert figure.main([*(word.format(**places) for word in words), '--out', str(tmp_path / 'out')]) == 2
    told = capsys.readouterr().err
    assert told.startswith('error: ' + message.format(**places)) and told.count('\n') == 1


def test_broken_files_are_named(scored, tmp_path, capsys):
    run = scored()
    out = ['--out', str(tmp_path / 'out')]
    (run.folder / 'last.ckpt').write_bytes(b'nothing')
    assert figure.main(['9', str(run.folder), *out]) == 2
    assert 'the model cannot be loaded: ' in capsys.readouterr().err
    (run.folder / 'scores.npz').write_bytes(b'nothing')
    assert figure.main(['5', str(run.folder), *out]) == 2
    assert f"error: '{run.folder / 'scores.npz'}' cannot be read" in capsys.readouterr().err
    (run.folder / 'scores.npz').unlink()
    assert figure.main(['5', str(run.folder), *out]) == 2
    assert f"error: there is no '{run.folder / 'scores.npz'}' any more" in capsys.readouterr().err
    (run.folder / 'result.json').write_text('{')
    assert figure.main(['5', str(run.folder), *out]) == 2
    assert 'is not valid JSON' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_runs_of_other_images_are_not_compared(scored, tmp_path, capsys):
    ours, theirs = scored(), scored(row='digits_baseline')
    found = {key: value[:-1] for key, value in theirs.scores.items()}
    scores.save(theirs.folder / 'scores.npz', found)
    assert figure.main(['6', str(ours.folder), str(theirs.folder), '--out', str(tmp_path / 'out')]) == 2
    told = capsys.readouterr().err
    assert 'must be evaluated on the same images and labels' in told
    assert f"'{ours.folder}': 30 images of 10 labels and '{theirs.folder}': 29 images" in told


def test_images_that_moved_or_changed(scored, photos, tmp_path, capsys):
    folder = scored().folder
    out = json.loads((folder / 'result.json').read_text())
    out['config']['data'] |= {'name': 'csv', 'root': str(tmp_path / 'gone'), 'test_split': 'test'}
    (folder / 'result.json').write_text(json.dumps(out))
    words = ['5', str(folder), '--out', str(tmp_path / 'out')]
    assert figure.main(words) == 2
    told = capsys.readouterr().err
    where = f": data.root=PATH says where the images of '{folder}' are\n"
    assert told.startswith('error: the images cannot be read: ') and told.endswith(where)
    assert figure.main([*words[:2], photos[1], *words[2:]]) == 2  # Other images.
    told = capsys.readouterr().err
    assert told.startswith('error: the data set has changed since: it has other classes') and told.endswith(where)


def test_a_folder_that_cannot_be_written(scored, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert figure.main(['5', str(scored().folder), '--out', str(tmp_path / 'file' / 'x')]) == 2
    assert capsys.readouterr().err.startswith("error: cannot write '")


def test_the_command_line_is_checked(capsys):
    for words, told in (
        (['4'], "invalid choice: '4'"),
        (['5', 'x', '--number', '0'], '--number must be at least 1 (got'),
    ):
        with pytest.raises(SystemExit):
            figure.main(words)
        assert told in capsys.readouterr().err
