"""The command: what it writes, and that it goes on where it stopped."""

import csv
import json
from pathlib import Path

import pytest
import torch

import mlsgm_pyg
from mlsgm_pyg.app.prediction import loop, records
from mlsgm_pyg.checkpoint import KEY
from mlsgm_pyg.decisions import Decision, Decisions
from tests.predictions import files, lines


def test_it_writes_what_the_library_says(call, pictures, checkpoint):
    status, out, _ = call('my ü', '--batch-size', 1)  # As the library below, to the last digit.
    assert status == 0 and '7 pictures, 7 now in' in out and 'my ü/0 é.png: ' in out
    assert files() == [f'my ü/{i} é.png' for i in range(6)] + ['my ü/sub/6 é.png']
    model = mlsgm_pyg.load(checkpoint)
    for one in lines():
        found = model.predict(one['file'])[0]
        expected = records.record(one['file'], found)
        assert list(one['probabilities']) == model.class_names
        assert [x['label'] for x in one['labels']] == sorted(
            (name for name, p in one['probabilities'].items() if p >= 0.5), key=lambda name: -found.every[name]
        )
        assert one == expected
        assert (one['width'], one['height'], one['orientation']) == (*found.size, found.orientation)
    assert lines()[3]['orientation'] == 6 and (lines()[3]['width'], lines()[3]['height']) == (43, 30)


def test_fitted_thresholds_say_which_labels_are_kept(call, pictures, checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    names = content[KEY]['class_names']
    one, other = Decision(0.0, 50, False, (None,) * 50), Decision(1.0, 3, True, (0.0,) * 50)
    content[KEY]['decisions'] = Decisions(3.0, dict.fromkeys(names, other) | {names[2]: one}, other).plain()
    torch.save(content, tmp_path / 'fitted.ckpt')
    assert call('my ü/0 é.png', checkpoint=tmp_path / 'fitted.ckpt')[0] == 0
    (found,) = lines()
    assert [x['label'] for x in found['labels']] == [names[2]] and len(found['probabilities']) == len(names)
    assert found['labels'][0]['probability'] == found['probabilities'][names[2]]
    about = json.loads(Path('predictions.about.json').read_text())
    assert (about['threshold'], about['min_precision'], about['thresholds'][names[2]]) == (None, None, 0.0)
    how = ['my ü/0 é.png', '--min-precision', 0.9]
    status, _, err = call(*how, checkpoint=tmp_path / 'fitted.ckpt')
    assert status == 2 and 'was made with min_precision=None, now it is 0.9' in err
    assert call(*how, '--again', checkpoint=tmp_path / 'fitted.ckpt')[0] == 0
    assert {x['label'] for x in lines()[0]['labels']} == {*names} - {names[2]}
    assert json.loads(Path('predictions.about.json').read_text())['thresholds'][names[2]] is None


def test_what_is_done_is_not_done_again(call, pictures, monkeypatch):
    call('my ü/0 é.png', 'my ü/1 é.png')
    before = Path('predictions.jsonl').read_bytes()
    read = []
    real = loop.read_picture
    monkeypatch.setattr(loop, 'read_picture', lambda path, **how: read.append(path) or real(path, **how))
    status, out, err = call('my ü')
    assert status == 0 and '2 of 7 pictures are done already' in err and '5 now in' in out
    assert len(read) == 5 and Path('predictions.jsonl').read_bytes().startswith(before)
    assert sorted(files()) == sorted({*files()}) and len(files()) == 7
    status, out, err = call(pictures)  # The same folder by another name.
    assert status == 0 and len(read) == 5 and len(files()) == 7
    status, out, err = call('my ü', '--again')
    assert status == 0 and len(read) == 12 and len(files()) == 7


@pytest.mark.slow
def test_other_options_never_share_a_file(call, pictures, checkpoint, tmp_path):
    call('my ü/0 é.png', '--top-k', 2)
    status, _, err = call('my ü/1 é.png', '--top-k', 3)
    assert status == 2 and "'predictions.jsonl' was made with top_k=2, now it is 3: take another --out" in err
    other = torch.load(checkpoint, weights_only=True)
    other['state_dict']['model.csac.classifier.bias'] += 1
    torch.save(other, tmp_path / 'other.ckpt')
    status, _, err = call('my ü/1 é.png', '--top-k', 2, checkpoint=tmp_path / 'other.ckpt')
    told = f"'predictions.jsonl' was made with the model '{checkpoint}', now it is '{tmp_path / 'other.ckpt'}': take"
    assert status == 2 and told in err
    assert len(files()) == 1 and len(lines()[0]['labels']) == 2
    assert call('my ü/1 é.png', '--top-k', 3, '--again')[0] == 0 and files() == ['my ü/1 é.png']
    Path('predictions.about.json').write_text('{')
    status, _, err = call('my ü/1 é.png', '--top-k', 3)
    assert status == 2 and "'predictions.about.json' does not say what 'predictions.jsonl' was made with" in err


def test_what_others_wrote_is_not_touched(call, pictures):
    Path('labels.csv').write_text('file,cat\n')
    Path('notes.jsonl').write_text('{"a": 1}\n')
    for out, name in (('labels.csv', 'labels.csv'), ('notes.csv', 'notes.jsonl'), ('notes.jsonl', 'notes.jsonl')):
        status, _, err = call('my ü', '--out', out, '--again')
        assert status == 2 and f"'{name}' is there already, and no '{name[:5]}" in err
    assert Path('labels.csv').read_text() == 'file,cat\n' and Path('notes.jsonl').read_text() == '{"a": 1}\n'


def test_a_killed_write_is_put_right(call, pictures):
    call('my ü/0 é.png')
    with open('predictions.jsonl', 'a') as file:
        file.write('{"file": "my ü/1 é.png", "wid')
    status, out, err = call('my ü')
    assert status == 0 and 'a last line that was not whole (31 bytes) is cut off' in err.replace('\n', ' ')
    assert sorted(files()) == [f'my ü/{i} é.png' for i in range(6)] + ['my ü/sub/6 é.png']


def test_so_many_now_and_the_rest_later(call, pictures):
    status, out, _ = call('my ü', 'my ü/0 é.png', '--limit', 3)
    assert status == 0 and '7 pictures, 3 now in' in out and '4 of them are left: the same command goes on' in out
    status, out, err = call('my ü', '--limit', 30)
    assert status == 0 and '3 of 7 pictures are done already' in err and '4 now in' in out and 'left' not in out
    assert files() == [f'my ü/{i} é.png' for i in range(6)] + ['my ü/sub/6 é.png']


def test_tables(call, pictures):
    status, out, _ = call('my ü', '--out', 'x.csv', '--threshold', 0.05, '--top-k', 3)
    assert status == 0 and 'x.csv' in out
    with open('x.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    expected = [(one['file'], x['label']) for one in lines('x.jsonl') for x in one['labels'] or [{'label': ''}]]
    assert [(row['file'], row['label']) for row in rows] == expected
    for one in lines('x.jsonl'):
        p = [x['probability'] for x in one['labels']]
        assert len(p) <= 3 and p == sorted(p, reverse=True) and all(value >= 0.05 for value in p)


def test_upright_boxes(call, pictures):
    call('my ü/3 é.png')
    call('my ü/3 é.png', '--out', 'up.jsonl', '--upright')
    stored, upright = lines()[0], lines('up.jsonl')[0]
    assert (stored['width'], stored['height']) == (upright['height'], upright['width']) == (43, 30)
    for a, b in zip(stored['instances'], upright['instances'], strict=True):
        x, y, w, h = b['box']
        assert a['box'] == pytest.approx([y, 30 - x - w, h, w], abs=0.02)


def test_drawings(call, pictures):
    call('my ü/0 é.png', 'my ü/1 é.png')
    (pictures / 'broken.png').write_text('no image')
    before = Path('predictions.jsonl').read_bytes()
    status, out, _ = call('my ü', '--draw', 'my ü/drawn')  # Drawings of what is done are made, too.
    assert (
        f'to look at in a browser: {pictures}/drawn/index.html' in out
        and status == 0
        and len(files()) == 8
        and Path('predictions.jsonl').read_bytes().startswith(before)
    )
    *drawn, page = sorted((pictures / 'drawn').iterdir(), key=lambda path: path.suffix == '.html')
    assert len(drawn) == 7 and all(path.suffix == '.jpg' for path in drawn) and page.name == 'index.html'
    assert '<h1>7 photographs</h1>' in page.read_text() and '1 more could not be read' in page.read_text()
    drawn[0].unlink()
    page.unlink()
    times = [path.stat().st_mtime_ns for path in drawn[1:]]
    call('my ü', '--draw', 'my ü/drawn')  # Drawings are never taken for pictures.
    assert len(files()) == 8 and drawn[0].exists() and page.exists()
    assert [path.stat().st_mtime_ns for path in drawn[1:]] == times
