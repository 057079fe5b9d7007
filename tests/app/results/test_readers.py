"""Whoever reads a finished run ends with the same line where its file is damaged."""

import json

import pytest

from experiments import figure, learning, promise, summary, table
from experiments import run as runs
from mlsgm_pyg.app.cli import compare, report
from mlsgm_pyg.app.config.words import words_of
from tests.app.finished_runs import finish

DAMAGE = {
    'cut': (lambda text: text[:200], 'is not valid JSON: '),
    'brackets': (lambda text: '[' * 100_000, 'is not valid JSON: maximum recursion depth exceeded'),
    'lacks': (lambda text: text.replace('"top3"', '"top4"'), 'is not what a run leaves: it lacks top3'),
    'type': (
        lambda text: text.replace('"total": 10.0', '"total": "x"'),
        "is not what a run leaves: 'seconds.total' must",
    ),
}


@pytest.fixture(params=DAMAGE)
def damaged(request, tmp_path):
    """The folder of a run with a damaged file, and what is said of it."""
    where = finish(tmp_path / 'runs', 'coco18', 'trainer.accelerator=cpu')
    change, told = DAMAGE[request.param]
    path = where / 'result.json'
    text = path.read_text()
    path.write_text(change(text))
    return where, f"'{path}' {told}", json.loads(text)['config']


READERS = {
    'compare': (compare.main, '{}'),
    'figure': (figure.main, '5 {}'),
    'learning': (learning.main, '{} {}'),
    'promise': (promise.main, '{}'),
    'report': (report.main, '{}'),
    'summary': (summary.main, '{}'),
}


@pytest.mark.parametrize('reader', READERS)
def test_it_is_one_line_where_it_was_named(reader, damaged, capsys):
    where, told, _ = damaged
    main, words = READERS[reader]
    assert main(words.format(where, where).split()) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f'error: {told}') and err.count('\n') == 1 and len(err) < 500 and out == ''


def test_a_finished_run_that_is_run_again(damaged, tmp_path, capsys):
    where, told, config = damaged
    assert runs.main([*words_of(config), 'seed=0']) == 2
    err = capsys.readouterr().err
    assert err.startswith(f'error: {told}') and err.count('\n') == 1 and '--again starts over' in err


def test_the_others_are_shown_where_it_was_not_named(damaged, tmp_path, capsys):
    where, told, _ = damaged
    finish(tmp_path / 'runs', 'coco18_baseline')
    for main, words in (
        (table.main, f'3 --runs {tmp_path / "runs"}'),
        (compare.main, f'{tmp_path / "runs"} --resamples 5'),
    ):
        assert main(words.split()) == 0
        out, err = capsys.readouterr()
        assert f'eft out: {told}' in out + err and 'coco18_baseline' in out
