"""The function behind the command: what it gives, and that it raises instead of ending the program."""

import io

import pytest
from rich.console import Console

from mlsgm_pyg import fast_backbone
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.prediction.job import predict
from tests.predictions import files, lines

QUIET = {'workers': 0, 'batch_size': 2, 'accelerator': 'cpu'}


def test_it_gives_the_job(pictures, checkpoint, capsys, tmp_path):
    (pictures / '1 é.png').write_text('broken')
    job = predict(checkpoint, [pictures], tmp_path / 'x.jsonl', top_k=1, **QUIET)
    assert job.number == len(job.wanted) == len(files('x.jsonl')) == 7 and job.status == 0
    assert job.unread == [one for one in lines('x.jsonl') if 'error' in one] and len(job.unread) == 1
    assert job.found == [one for one in lines('x.jsonl') if 'error' not in one]
    assert '7 pictures, 7 now in' in job.summary() and '1 of them could not be read' in job.summary()
    (pictures / 'notes.md').touch()
    console = Console(file=io.StringIO())
    assert predict(checkpoint, [pictures], tmp_path / 'x.jsonl', top_k=1, console=console, **QUIET).number == 0
    assert console.file.getvalue() == 'ignored: 1 .md\n7 of 7 pictures are done already\n'
    assert capsys.readouterr() == ('', '')


def test_it_raises(pictures, checkpoint, tmp_path):
    for given, told in [
        ({'files': ['lost']}, "there is no file or folder 'lost'"),
        ({'accelerator': 'gpus'}, "'accelerator' must be one of auto, gpu, cuda, mps, cpu"),
        ({'precision': '8-true'}, "'precision' must be one of 32-true"),
    ]:
        with pytest.raises(ValueError, match=told):
            predict(**{'checkpoint': checkpoint, 'files': [pictures], 'out': tmp_path / 'x.jsonl', **QUIET, **given})
    with pytest.raises(ConfigError, match='made with top_k=1, now it is 2'):
        for k in (1, 2):
            predict(checkpoint, [pictures], tmp_path / 'x.jsonl', top_k=k, **QUIET)


def test_precisions_say_nearly_the_same(pictures, checkpoint, tmp_path):
    found = {}
    for precision in ('32-true', '64', 'bf16-mixed', '16-true'):
        out = tmp_path / f'{precision}.jsonl'
        predict(checkpoint, [pictures / '0 é.png'], out, precision=precision, **QUIET)
        found[precision] = {one['label']: one['probability'] for one in lines(out)[0]['labels']}
    assert found['64'] == pytest.approx(found['32-true'], abs=2e-6)
    for precision in ('bf16-mixed', '16-true'):
        assert found[precision] != found['32-true']
        assert found[precision] == pytest.approx(found['32-true'], abs=0.05)


def test_many_pictures_go_through_onnx_runtime_with_the_same_answers(pictures, checkpoint, tmp_path, monkeypatch):
    pytest.importorskip('onnxruntime')
    found, told = {}, {}
    for name, fewest in (('torch', 8), ('onnx', 7)):
        monkeypatch.setattr(fast_backbone, 'FEWEST', fewest)
        console, out = Console(file=io.StringIO()), tmp_path / f'{name}.jsonl'
        predict(checkpoint, [pictures], out, console=console, **QUIET)
        found[name] = {(one['file'], x['label']): x['probability'] for one in lines(out) for x in one['labels']}
        told[name] = console.file.getvalue()
    assert found['onnx'] == pytest.approx(found['torch'], abs=1e-5) and len(found['torch']) > 7
    assert told['torch'] == '' and told['onnx'].startswith('Maps by ONNX Runtime, within ')
