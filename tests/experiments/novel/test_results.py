"""What few-shot and zero-shot experiments leave: the committed files are read, a damaged one is one line."""

import json
from pathlib import Path

import pytest

from experiments.novel.results import read_few_shot, read_zero_shot
from mlsgm_pyg.app.common.errors import Damaged
from tests.app.results.test_run import places, put

RESULTS = Path(__file__).resolve().parents[3] / 'results'
OPEN = {'stage_one', 'AP', 'config', 'by', 'made_by'}  # What is in these is not looked at.


@pytest.mark.parametrize(('kind', 'read'), [('few_shot', read_few_shot), ('zero_shot', read_zero_shot)])
def test_the_committed_one_is_read_and_a_damaged_one_is_named(kind, read, tmp_path):
    (path,) = RESULTS.glob(f'*-{kind}-*.json')
    out = read(path)
    assert out == json.loads(path.read_text())
    copy, told = tmp_path / f'{kind}.json', []
    for place, was in places(out):
        if OPEN & {*place[:-1]} or place[0] == 'draws' and len(place) > 2:
            continue
        wrong = 'x' if isinstance(was, dict | list | int | float) else 3
        for damaged in (put(out, place), put(out, place, wrong)):
            copy.write_text(json.dumps(damaged))
            try:
                read(copy)
            except Damaged as error:
                told.append(str(error))
    maker = kind.replace('_', '-')
    assert all(one.startswith(f"'{copy}' is not what a {maker} experiment leaves: ") for one in told)
    assert not any('\n' in one or len(one) > 300 for one in told)
    lacking = {one.split('it lacks ')[1] for one in told if 'it lacks ' in one}
    assert {'name', 'command', 'config', 'hardware.device', 'versions'} <= lacking and len(told) > 60
