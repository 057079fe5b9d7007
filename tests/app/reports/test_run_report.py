import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.paper.match import note_rows
from mlsgm_pyg.app.cli import report
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.reports import overview
from mlsgm_pyg.app.reports.run_report import build
from mlsgm_pyg.app.results import scores as score_files
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.app.training import train
from tests.reader import Reader

HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of a finished run, alone in its runs folder."""
    target = tmp_path / 'runs' / 'digits' / 'seed0-x'
    shutil.copytree(trained['folder'], target, ignore=shutil.ignore_patterns('tensorboard'))
    return target


def change(folder, **changes):
    path = folder / 'result.json'
    out = json.loads(path.read_text())
    for key, value in changes.items():
        place = out
        *above, last = key.split('__')
        for part in above:
            place = place[part]
        place[last] = value
    path.write_text(json.dumps(out))


def tabs(page):
    return dict(page.tabs)


def cells(markup):
    """The rows of the tables in some markup, as text."""
    rows = re.findall(r'<tr>(<td.*?)</tr>', markup)
    return [[re.sub('<.*?>', '', cell) for cell in re.findall(r'<td.*?</td>', row)] for row in rows]


def test_a_report_has_all_its_parts(folder):
    page, missing = build(folder)
    assert list(tabs(page)) == [
        'Overview', 'Classes', 'Precision and recall', 'Calibration', 'Labels together', 'Mistakes', 'Images', 'Graphs',
    ]  # fmt: skip
    assert missing == []
    read = Reader(page.render())
    images = read.all('img')
    assert len(page.pictures) == 13 and all(image['data-picture'] in page.pictures for image in images)
    assert all(image['alt'] and image['width'] and image['height'] for image in images)
    assert len(read.all('canvas')) == 13 * 6
    assert tabs(page)['Graphs'].count('class="graph"') == 13


def test_it_says_what_ran_and_how_to_run_it_again(folder):
    page, _ = build(folder)
    told = ' '.join(Reader(tabs(page)['Overview']).words)
    assert 'mlsgm train --row digits data.image_size=32' in told and 'seed=0' in told
    assert 'the command' in told  # What was typed.
    out = json.loads((folder / 'result.json').read_text())
    assert out['commit'] in told and out['hardware']['device'] in told and out['versions']['torch'] in told
    assert 'model.gamma=0.04' in told and 'trainer.max_epochs=2' in told
    assert f'{out["parameters"]["trained"]:,} trained of {out["parameters"]["all"]:,}' in told
    (folder / 'result.json').write_text(json.dumps(out | {'command': 'python -m experiments.sweep digits'}))
    again, facts = overview._again(Run.read(folder))  # Its door is that of the paper's rows.
    assert again.startswith('python -m experiments.run digits data.image_size=32')
    assert again.removeprefix('python -m experiments.run ') in ' '.join(told.split())
    assert 'python -m experiments.sweep digits' in dict(facts)['typed']


@pytest.mark.slow
def test_metrics_stand_beside_the_baselines(folder):
    out = json.loads((folder / 'result.json').read_text())
    other = folder.parent.parent / 'other' / 'seed0-y'
    shutil.copytree(folder, other)
    change(other, name='other', config__model__name='baseline', metrics__mAP=out['metrics']['mAP'] - 1.5)
    page, _ = build(folder)
    rows = {row[0]: row[1:] for row in cells(tabs(page)['Overview'])}
    value = out['metrics']['mAP']
    assert rows['mAP'] == [f'{value:.2f}', f'{value - 1.5:.2f}', '+1.50']
    assert rows['top-3 OF1'] == [f'{out["metrics"]["top3_OF1"]:.2f}'] * 2 + ['+0.00']
    assert 'Difference in mAP to other, seed 0: +0.00, 95 % interval [+0.00, +0.00]' in tabs(page)['Overview']
    assert tabs(page)['Calibration'].count('<h3>') == 2
    assert 'stroke-dasharray="6 3"' in tabs(page)['Precision and recall']
    page, _ = build(folder, against=other)
    assert 'against other' in tabs(page)['Overview']
    change(other, ap='interpolated_11')
    page, _ = build(folder)
    told = 'No interval of the difference: intervals are of non-interpolated AP alone.'
    assert told in tabs(page)['Overview'] and 'against other' in tabs(page)['Overview']
    change(other, config__task__known=0.5)
    page, _ = build(folder)
    assert 'against other' not in tabs(page)['Overview']


def test_classes_have_the_numbers_of_the_scores(folder):
    page, _ = build(folder)
    out = json.loads((folder / 'result.json').read_text())
    run = Run.read(folder)
    rows = cells(tabs(page)['Classes'])
    assert [row[0] for row in rows] == run.class_names
    for c, row in enumerate(rows):
        ap = out['metrics']['AP'][row[0]]
        predicted, there = run.p[:, c] >= 0.5, run.y[:, c] == 1
        right = (predicted & there).sum()
        told = [ap, int(there.sum()), int(predicted.sum())]
        told += [100 * right / predicted.sum() if predicted.any() else None, 100 * right / max(there.sum(), 1)]
        expected = ['–' if v is None else str(v) if isinstance(v, int) else f'{v:.1f}' for v in told]
        assert row[1:6] == expected


def test_the_papers_numbers_stand_beside_a_run_of_its_data(folder):
    names = ['aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow']
    ap = json.loads((folder / 'result.json').read_text())['metrics']['AP']
    data = {'row': 'voc2007', 'data__name': 'voc2007', 'data__root': '/nowhere', 'data__image_size': 448}
    change(folder, **{f'config__{key}': value for key, value in data.items()})
    change(folder, metrics__AP=dict(zip(names, ap.values())))
    assert 'paper, Table' not in tabs(build(folder)[0])['Overview']
    note_rows(folder)  # As `experiments.run` does.
    page, missing = build(folder)
    rows = {row[0]: row for row in cells(tabs(page)['Overview'])}
    assert rows['mAP'][2] == '95.2'
    assert {row[0]: row[2] for row in cells(tabs(page)['Classes'])}['bottle'] == '86.3'
    assert len(missing) == 1 and 'No pictures: the images cannot be read' in missing[0]


def test_what_is_gone_is_left_out_and_named(folder):
    (folder / 'last.ckpt').unlink()
    page, missing = build(folder)
    assert re.fullmatch(r"No instances, maps and graphs: there is no '.*last.ckpt' any more.", missing[0])
    assert missing[0] in tabs(page)['Overview'].unescape() and len(page.pictures) == 13
    change(folder, config__data__name='csv', config__data__root='/nowhere')
    page, missing = build(folder)
    assert 'No pictures: the images cannot be read' in missing[0] and not page.pictures
    assert 'Images' not in tabs(page) and 'image 3' in tabs(page)['Mistakes']
    (folder / 'scores.npz').unlink()
    page, missing = build(folder)
    assert list(tabs(page)) == ['Overview', 'Classes'] and 'scores.npz' in missing[0]
    (folder / 'metrics.csv').unlink()
    change(folder, history=[])
    page, _ = build(folder)
    assert 'no history of epochs' in tabs(page)['Overview']


def test_a_checkpoint_of_other_scores_is_told(folder):
    scores = dict(np.load(folder / 'scores.npz'))
    score_files.save(folder / 'scores.npz', scores | {'graph': -3 * np.sign(scores['graph'])})
    _, missing = build(folder)
    assert 'the checkpoint gives other probabilities than the evaluation did' in missing[0]


@pytest.fixture(scope='module')
def hostile(narrow, tmp_path_factory):
    """A finished run, with partial labels, on photographs whose names and classes are code; one was broken since."""
    folder = tmp_path_factory.mktemp('hostile')
    (folder / 'images').mkdir()
    names = ['plain', HOSTILE.replace(',', ''), '"\'&{{script}}`${x}']
    rng = np.random.default_rng(0)
    lines = {}
    for i in range(24):
        y = rng.random(3) < 0.5
        file = f'{i}<img src=x onerror=alert(3)>.png'
        Image.fromarray((rng.integers(0, 156, (24, 24, 3)) + 90 * y).astype(np.uint8)).save(folder / 'images' / file)
        lines[file] = [name for name, there in zip(names, y) if there]
    (folder / 'labels.json').write_text(json.dumps(lines))
    words = ['data.name=csv', f'data.root={folder}', 'data.labels=labels.json', 'data.test_split=val', 'seed=3']
    words += ['name=hostile', f'runs_dir={folder / "runs"}', 'model.gamma=0.04', 'semantics.source=onehot']
    words += ['task=partial', 'task.known=0.7', 'trainer.max_epochs=1', 'data.on_error=skip']
    out = train.run(configs.load('digits', [*narrow, *words]), command=HOSTILE)
    files = sorted((folder / 'images').iterdir())
    return Path(out['folder']), files


def test_names_from_data_are_never_code(hostile):
    folder, _ = hostile
    page, missing = build(folder)
    assert missing == []
    content = page.render()
    read = Reader(content)
    assert not [attributes for _, attributes in read.elements if any(key.startswith('on') for key in attributes)]
    assert not any('src' in attributes for attributes in read.all('img'))
    scripts = [attributes for attributes in read.all('script') if attributes.get('type') is None]
    assert len(scripts) == 1 and 'alert(' not in re.findall(r'<script>(.*?)</script>', content, re.DOTALL)[-1]
    assert HOSTILE in ' '.join(read.words) and '{{script}}' in ' '.join(read.words)
    assert '70 % of the labels known' in content


def test_a_picture_that_is_broken_now_is_named(hostile):
    folder, files = hostile
    run = Run.read(folder)
    name = run.images.files[int(run.scores['index'][0])]
    path = next(file for file in files if file.name == name)
    kept = path.read_bytes()
    path.write_bytes(b'broken')
    try:
        page, missing = build(folder)
    finally:
        path.write_bytes(kept)
    assert missing[0].startswith(f'1 image cannot be read any more: {name}: ')
    assert 'no picture' in tabs(page)['Images']


@pytest.mark.slow
def test_moved_images_are_found(hostile, tmp_path):
    folder, files = hostile
    shutil.copytree(files[0].parent, tmp_path / 'moved' / 'images')
    shutil.copy(files[0].parent.parent / 'labels.json', tmp_path / 'moved')
    copy = tmp_path / 'runs' / 'hostile' / 'seed3-x'
    shutil.copytree(folder, copy)
    change(copy, config__data__root='/nowhere')
    assert build(copy)[1] != []
    assert build(copy, data_root=str(tmp_path / 'moved'))[1] == []


@pytest.mark.slow
def test_models_without_instances_and_stage_one_of_few_shot(tiny, frozen):
    words = [*frozen, 'trainer.max_epochs=1', 'task=few_shot', 'task.novel=one,two']
    out = train.run(tiny(*words, row='digits_baseline'), command='x')
    page, missing = build(Path(out['folder']))
    assert missing == [] and 'one' not in [row[0] for row in cells(tabs(page)['Classes'])]
    assert 'base classes alone' in page.render()
    assert 'This model has no instances' in tabs(page)['Maps'] and '<canvas' in tabs(page)['Maps']
    assert 'class="graph"' not in tabs(page)['Maps']


def test_command_line(folder, capsys):
    assert report.main([str(folder), '--images', '5', '--graphs', '0']) == 0
    out = capsys.readouterr().out
    assert out.startswith(f'{folder}/report.html (') and (folder / 'report.html').stat().st_size > 50_000
    content = (folder / 'report.html').read_text()
    assert '5 of 13 images' in content and '>Graphs</button>' not in content
    assert report.main([str(folder), '--out', str(folder / 'new' / 'x.html'), '--images', '0', '--graphs', '0']) == 0
    assert (folder / 'new' / 'x.html').is_file()
    assert report.main([str(folder), '--out', str(folder / 'report.html' / 'x.html')]) == 2
    assert 'error: cannot write' in capsys.readouterr().err
    assert report.main([str(folder / 'tensorboard')]) == 2
    assert 'is not the directory of a run' in capsys.readouterr().err


def test_runs_of_other_images_are_not_compared(folder, hostile, capsys):
    assert report.main([str(folder), '--against', str(hostile[0])]) == 2
    assert 'was evaluated on other images or labels' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        report.main([str(folder), '--graphs', '-1'])
    assert '--graphs must be at least 0 (got -1)' in capsys.readouterr().err
