"""benchmarks/README.md is made of its text and of what was measured; all sections run within some minutes."""

import json
import re
import subprocess
import sys

import pytest

from benchmarks import all as everything
from benchmarks import checkouts, common, page
from mlsgm_pyg.app.common.tables import Table

NOT_SCRIPTS = {'__init__', 'common', 'plain', 'page', 'all', 'calls', 'checkouts'}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty place for results and page."""
    monkeypatch.setattr(page, 'FOLDER', tmp_path)
    monkeypatch.setattr(page, 'RESULTS', tmp_path / 'results')
    (tmp_path / 'page.md').write_text('a\n\n{{ x }}\n\nb {{ startup }}\n')
    return tmp_path


def test_the_page_is_up_to_date():
    assert (page.FOLDER / 'README.md').read_text() == page.text(), 'python -m benchmarks.page'


def test_every_script_has_its_place():
    text = (page.FOLDER / 'page.md').read_text()
    scripts = {path.stem for path in page.FOLDER.glob('*.py')} - NOT_SCRIPTS
    assert scripts == set(everything.SECTIONS)
    for name in scripts:
        assert text.count(f'{{{{ {name} }}}}') == 1 and f'python -m benchmarks.{name}' in text
    files = {path.name for path in page.RESULTS.iterdir()} if page.RESULTS.is_dir() else set()
    assert files <= {f'{name}-{device}.json' for name in scripts for device in page.devices(name)}


def test_the_page_is_made_of_what_was_measured(folder):
    assert page.text() == 'a\n\nNot measured on the CPU or a GPU.\n\nb Not measured on the CPU.\n'
    table = Table('T', ('p', 'q'), [['r', 1234], [None, 0.123456], ['s', 12.345]], ['Note.'])
    measured = []

    def measure(args):
        measured.append(args.device.type)
        args.minutes.left_out.append('C = 500')
        return [table]

    assert common.main('x', 'X?', measure, ['--write', '--device', 'cpu']) == 0
    text = (folder / 'README.md').read_text()
    assert text.startswith('a\n\n**T**\n\n| p | q |\n|---|---|\n| r | 1,234 |\n| - | 0.12 |\n| s | 12.3 |\n\nNote.\n')
    assert (
        '\n\nLeft out, as its minutes were over: C = 500.\n\n' in text
        and '`python -m benchmarks.x --device cpu`' in text
    )
    assert '\n\nNot measured on a GPU.\n\nb ' in text and measured == ['cpu']
    found = json.loads((folder / 'results' / 'x-cpu.json').read_text())
    assert found['tables'][0]['rows'] == table.rows and found['command'] == 'python -m benchmarks.x --device cpu'
    assert page.text() == text


@pytest.mark.slow
def test_sections_of_a_device_run_one_after_the_other():
    command = [sys.executable, '-m', 'benchmarks.all', '--device', 'cpu', '--quick', 'metrics', 'graph_building']
    out = subprocess.run(command, cwd=page.FOLDER.parent, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert out.index('mAP and twelve figures') < out.index('boxes, kNN and graphs')
    assert out.endswith('All 2 sections have their tables.\n')


@pytest.mark.slow
def test_a_section_that_takes_too_long_is_ended(capfd):
    assert everything.main(['--device', 'cpu', '--minutes', '0', 'startup', 'metrics']) == 1
    told = 'No tables of startup (its time was over); metrics (its time was over).'
    assert capfd.readouterr().out.strip() == told


def test_a_section_that_lacks_a_package_says_so_in_a_line(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'omegaconf'")

    monkeypatch.setattr(everything, 'import_module', missing)
    with pytest.raises(SystemExit, match="^predict: No module named 'omegaconf'$"):
        everything.section('predict', [])


@pytest.mark.parametrize(
    ('main', 'words', 'told'),
    [
        (everything.main, ['--device', 'cpu', 'heads'], r'sections are head, throughput, .* \(got heads\)'),
        (checkouts.main, ['nowhere'], r'OTHER must be the folder of a checkout.*\(got nowhere\)'),
        (checkouts.main, [str(checkouts.HERE), 'heads'], r'sections are head, throughput, aggregation \(got heads\)'),
    ],
)
def test_refused(main, words, told, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert re.search(told, capsys.readouterr().err)


def test_checkouts_are_compared_by_processes():
    here = [{'a': 0.003, 'b': 0.001}, {'a': 0.002, 'b': 0.003}, {'a': 0.004, 'b': 0.002}]
    other = [{'a': 0.001, 'b': 0.001}, {'a': 0.0015, 'b': 0.001}, {'a': 0.001, 'b': 0.001}]
    one, two = checkouts.compared(here, other).rows
    assert one == ['a', '1 (1 to 1.5)', '3 (2 to 4)', pytest.approx(3), 'yes']
    assert two == ['b', '1 (1 to 1)', '2 (1 to 3)', pytest.approx(2), 'no']  # As quick once as the other.


def test_processes_of_both_checkouts_take_turns(tmp_path, monkeypatch, capsys):
    (tmp_path / 'mlsgm_pyg').mkdir()
    (tmp_path / 'mlsgm_pyg' / '__init__.py').touch()
    runs = []
    monkeypatch.setattr(checkouts, 'run', lambda folder, sections, quick: runs.append((folder, sections)) or {'a': 1.0})
    assert checkouts.main([str(tmp_path), '--rounds', '2', 'head']) == 0
    here, other = (checkouts.HERE, ['head']), (tmp_path, ['head'])
    assert runs == [here, other, other, here]
    assert '| a | 1000 (1000 to 1000) | 1000 (1000 to 1000) | 1.00 | no |' in capsys.readouterr().out


@pytest.mark.slow
def test_the_calls_run_with_a_checkout():
    found = checkouts.run(checkouts.HERE, checkouts.SECTIONS, quick=True)
    assert len(found) == 9 + 4 + 4 and all(value > 0 for value in found.values())
