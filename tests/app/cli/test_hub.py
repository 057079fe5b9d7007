"""A model hub: pushed to, fetched from, and every way in which it does not do as it was asked."""

import json
from pathlib import Path

import pytest

import mlsgm_pyg
from mlsgm_pyg import hub
from mlsgm_pyg.app.cli import card, predict
from mlsgm_pyg.tagger import Tagger
from tests import model_hub
from tests.predictions import lines
from tests.server import running

package = pytest.importorskip('huggingface_hub', reason='needs the extra hub')

pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=:DeprecationWarning"
)  # huggingface_hub's own call of httpx.


@pytest.fixture
def there(tmp_path, monkeypatch):
    """The stand-in, an empty cache, and a token."""
    for name in ('HF_TOKEN', 'HF_ENDPOINT', 'HUGGING_FACE_HUB_TOKEN'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr('huggingface_hub.constants.HF_TOKEN_PATH', str(tmp_path / 'no token'))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_DISABLE_XET', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS', True)
    with running(model_hub.Hub) as server:
        monkeypatch.setenv('HF_ENDPOINT', server.url)
        monkeypatch.setenv('HF_TOKEN', model_hub.TOKEN)
        yield server


def error_of(capsys, main, *words):
    assert main(list(map(str, words))) == 2
    told = capsys.readouterr().err
    assert told.count('\n') == 1 and 'Traceback' not in told
    return told.removeprefix('error: ').strip()


def test_pushed_and_fetched(there, checkpoint, colours, pictures, call, capsys):
    assert card.main([str(checkpoint), '--push', 'me/digits', '--exported', colours]) == 0
    assert capsys.readouterr().out == f'{there.url}/me/digits\n'
    files = {path: data for (repo, path), data in there.files.items() if repo == 'me/digits'}
    assert files.keys() == {'README.md', 'model.ckpt', 'model.onnx'} and files['model.ckpt'] == checkpoint.read_bytes()
    data = package.ModelCard(files['README.md'].decode()).data
    assert data.library_name == 'mlsgm_pyg' and data.eval_results[0].metric_type == 'mAP'
    assert 'mlsgm predict hub:me/digits PHOTOGRAPHS' in files['README.md'].decode()

    assert call('my ü/0 é.png', '--out', 'hub.jsonl', checkpoint='hub:me/digits')[0] == 0
    (found,) = lines('hub.jsonl')
    (expected,) = mlsgm_pyg.predict(checkpoint, 'my ü/0 é.png')
    assert [one['label'] for one in found['labels']] == expected.labels
    assert hub.fetch('hub:me/digits@v1').read_bytes() == checkpoint.read_bytes()
    about = json.loads((pictures.parent / 'hub.about.json').read_text())
    assert about['checkpoint'].endswith('model.ckpt')
    asked = len(there.asked)
    there.shutdown()  # What was fetched by its commit is here.
    assert hub.fetch(f'hub:me/digits@{model_hub.COMMIT}').read_bytes() == checkpoint.read_bytes()
    assert len(there.asked) == asked


def test_without_torch_it_is_the_exported_file(there, colours, monkeypatch):
    there.files['me/colours', 'model.onnx'] = Path(colours).read_bytes()
    monkeypatch.setattr(hub, 'find_spec', lambda name: None)
    assert Tagger('hub:me/colours').engine.class_names == ['red', 'green', 'blue']


def test_errors(there, checkpoint, monkeypatch, capsys):
    there.files['me/there', 'README.md'] = b''
    for name, told in [
        ('hub:me/there', "'me/there' has no file 'model.ckpt'"),
        ('hub:me/there@v7', "'me/there' has no revision 'v7'"),
        ('hub:me/nothing', f"{there.url} has no model 'me/nothing', or not for you (HF_TOKEN)"),
        ('hub:a b/c/d', "a name is 'OWNER/NAME', and perhaps '@REVISION'"),
    ]:
        assert error_of(capsys, predict.main, name, 'x.jpg') == f"cannot fetch '{name}': {told}"
    monkeypatch.setenv('HF_TOKEN', 'hf_wrong')
    told = error_of(capsys, card.main, checkpoint, '--push', 'me/x')
    assert told == f"cannot push 'me/x': {there.url} does not let you (401): set HF_TOKEN to a token that may"
    monkeypatch.delenv('HF_TOKEN')
    told = error_of(capsys, card.main, checkpoint, '--push', 'me/x')
    assert told == "cannot push 'me/x': there is no token: set HF_TOKEN, or 'hf auth login'"
    monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')
    monkeypatch.setattr('huggingface_hub.utils._http.time.sleep', lambda seconds: None)
    told = error_of(capsys, predict.main, 'hub:me/there', 'x.jpg')
    assert told == "cannot fetch 'hub:me/there': http://127.0.0.1:9 cannot be reached, and the file is not here yet"
    monkeypatch.setenv('HF_TOKEN', model_hub.TOKEN)
    assert 'http://127.0.0.1:9' in error_of(capsys, card.main, checkpoint, '--push', 'me/x')
    with pytest.raises(SystemExit):
        card.main([str(checkpoint), '--exported', 'no.onnx'])
    assert "--exported takes an ONNX file that is there, with --push (got 'no.onnx')" in capsys.readouterr().err
    monkeypatch.setitem(__import__('sys').modules, 'huggingface_hub', None)
    told = error_of(capsys, predict.main, 'hub:me/there', 'x.jpg')
    assert told == "a model hub needs the package huggingface_hub: pip install 'mlsgm_pyg[hub]'"
