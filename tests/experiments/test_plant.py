"""What is planted into a copy, and what of it is counted as found."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from experiments import plant
from mlsgm_pyg.app.data import doubt


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'photos' / 'images').mkdir(parents=True)
    rng, lines = np.random.default_rng(0), ['file,split,a,b,c']
    for i in range(30):
        pixels = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((160, 120), 3)
        pixels.save(tmp_path / 'photos' / 'images' / f'{i}.jpg')
        lines.append(f'{i}.jpg,{"val" if i % 3 else "train"},{i % 2},{1 - i % 2},{int(i == 3)}')
    (tmp_path / 'photos' / 'labels.csv').write_text('\n'.join(lines) + '\n')
    return tmp_path / 'photos'


def rows(folder):
    with open(folder / 'labels.csv', newline='') as file:
        return {row.pop('file'): row for row in csv.DictReader(file)}


def test_what_is_planted_is_counted(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doubt, 'pooled', lambda sources, *of: np.concatenate([source.y for source in sources]))
    copy, out = tmp_path / 'copy', tmp_path / 'out.json'
    words = [str(folder), str(copy), '--limit', '24', '--wrong', '0.25', '--twins', '8', '--out', str(out)]
    assert plant.main(words) == 0
    before, after, found = rows(folder), rows(copy), json.loads(out.read_text())
    assert found['images'] == len(after) == 32 and found['twins'] == 8 and found['wrong_images'] == 8
    assert found['twins_found'] == dict.fromkeys(plant.CHANGES, [2, 2]) and found['other_pairs'] == []
    changed = [name for name, row in after.items() if name in before and row != before[name]]
    assert len(changed) == 8
    for name in changed:
        steps = [int(after[name][c]) - int(before[name][c]) for c in 'abc']
        assert sorted(steps) == [-1, 0, 1] and after[name]['split'] == before[name]['split']
    assert found['wrong_labels'] == 16 and 0 <= found['wrong_images_in_first_5_percent_of_images'] <= 2
    assert plant.main(words) == 2
    assert capsys.readouterr().err.endswith(f"error: '{copy}' is there already: name a new folder\n")
