"""Runs from config to result.json, killed and resumed ones included."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import mlsgm_pyg
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config.load import load
from mlsgm_pyg.app.data.parts import Parts
from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.training import train
from mlsgm_pyg.app.training.callbacks import RunFiles
from mlsgm_pyg.app.training.run_log import RunLog
from tests.app.finished_runs import result_of

ROOT = Path(__file__).resolve().parents[3]
FROZEN = ['model.freeze_backbone=true', 'features.cache=true']


def test_a_run_writes_everything(tiny, capsys):
    config = tiny('data.limit=9', 'data.test_limit=7', 'trainer.max_epochs=1')
    out = train.run(config, command='the command')
    folder = Path(out['folder'])
    assert folder == train.run_dir(config)
    names = {'config.yaml', 'metrics.csv', 'tensorboard', 'best.ckpt', 'last.ckpt', 'scores.npz', 'result.json'}
    assert {path.name for path in folder.iterdir()} == names
    assert out == json.loads((folder / 'result.json').read_text())
    assert OmegaConf.load(folder / 'config.yaml') == config
    assert out['images'] == {'train': 9, 'test': 7} and out['command'] == 'the command'
    assert set(out['mAP_by_score']) == {'graph', 'csac', 'average'} and out['score'] == 'graph'
    assert out['mAP'] == out['mAP_by_score']['graph']
    assert out['instances_per_image'] >= 1  # x^0 is always there.

    kept = dict(np.load(folder / 'scores.npz'))
    np.testing.assert_array_equal(kept['index'], np.arange(7))
    assert scores.names_of(kept) == ['graph', 'csac', 'average']
    again = scores.evaluate(kept, 'graph', list(out['metrics']['AP']), out['ap'], out['top3'])
    assert again['mAP'] == out['mAP']
    mean = (torch.tensor(kept['graph']).sigmoid() + torch.tensor(kept['csac']).sigmoid()) / 2
    torch.testing.assert_close(torch.tensor(kept['average']).sigmoid(), mean, rtol=1e-5, atol=1e-6)

    capsys.readouterr()
    assert train.run(config)['seconds'] == out['seconds']  # Read, not run again.
    assert 'is finished (--again trains it once more)' in capsys.readouterr().out
    assert train.run(config, again=True)['mAP'] == out['mAP']


@pytest.mark.slow
def test_several_test_sizes_equal_the_mean_of_their_evaluations(tiny):
    def run(sizes):
        out = train.run(tiny(f'data.test_sizes={sizes}', 'trainer.max_epochs=1'))
        return out, dict(np.load(Path(out['folder']) / 'scores.npz'))

    (plain, _), (_, small), (large_out, large), (both_out, both) = map(run, ('[]', '24', '32', '24,32'))
    assert plain['mAP'] == large_out['mAP'] and not np.allclose(small['graph'], large['graph'])  # 32 is image_size.
    for name in ('graph', 'csac', 'average'):
        mean = sum(torch.tensor(one[name]).sigmoid() for one in (small, large)) / 2
        torch.testing.assert_close(torch.tensor(both[name]).sigmoid(), mean)
    np.testing.assert_allclose(both['instances'], (small['instances'] + large['instances']) / 2)
    np.testing.assert_array_equal(both['index'], np.arange(13))
    again = scores.evaluate(both, 'graph', list(both_out['metrics']['AP']), both_out['ap'], both_out['top3'])
    assert both_out['mAP'] == again['mAP']


def test_a_finished_run_under_other_defaults_is_refused(tiny):
    config = tiny()
    folder = train.run_dir(config)
    folder.mkdir(parents=True)
    then = OmegaConf.to_container(config)
    then['loss']['margin'] = 0.5
    (folder / 'result.json').write_text(json.dumps(result_of(config, {}) | {'config': then}))
    with pytest.raises(ValueError, match=r'was trained with loss.margin=0.5, now it is 0.05: --again trains it once'):
        train.run(config)


def test_a_checkpoint_explains_itself(tiny):
    config = tiny('trainer.max_epochs=1', 'data.limit=8')
    folder = Path(train.run(config)['folder'])
    torch.load(folder / 'last.ckpt', weights_only=True)  # Tensors and plain containers only.
    model = mlsgm_pyg.load(folder / 'last.ckpt')
    assert model.class_names[:2] == ['zero', 'one'] and not model.training
    assert model.config['data']['scene_size'] == 32
    part = Parts.read(config).test
    image = torch.stack([torch.from_numpy(np.array(part.source.image(i))) for i in part.rows])
    with torch.no_grad():
        logits = model(image.permute(0, 3, 1, 2)).logits
    np.testing.assert_allclose(logits.numpy(), np.load(folder / 'scores.npz')['graph'], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_frozen_backbone_stays_as_it_is(tiny, frozen):
    config = tiny(*frozen, 'trainer.max_epochs=1')
    torch.manual_seed(train.mix(config.seed, 6))
    parts = Parts.read(config)
    module = train.Recognition(config, parts.class_names, parts.train.y)
    before = {key: value.clone() for key, value in module.model.state_dict().items()}
    folder = Path(train.run(config)['folder'])
    after = torch.load(folder / 'last.ckpt', weights_only=True)['state_dict']
    changed = {key for key in before if not torch.equal(before[key], after[f'model.{key}'])}
    assert changed and not any(key.startswith('backbone.') for key in changed)


@pytest.mark.slow
def test_averaged_weights_are_what_is_evaluated_and_saved(tiny, frozen):
    config = tiny(*frozen, 'optimizer.ema_epochs=0.5')
    folder = Path(train.run(config)['folder'])
    state = torch.load(folder / 'last.ckpt', weights_only=True)
    key = 'model.ilms.decoder.mlp.norms.0.weight'
    key = (
        key
        if key in state['state_dict']
        else next(k for k in state['state_dict'] if k.startswith('model.ilms.decoder'))
    )
    assert not torch.equal(state['state_dict'][key], state['current_model_state'][key])
    parts, log = Parts.read(config), RunLog()
    trainer = train.build_trainer(config, folder, log)
    module = train.Recognition(config, parts.class_names, parts.train.y, log)
    module.load_state_dict(state['state_dict'])
    trainer.callbacks = [c for c in trainer.callbacks if c.__class__.__name__ != 'RecentWeights']
    trainer.validate(module, train.DataModule(config, parts, module.model), verbose=False)
    kept = dict(np.load(folder / 'scores.npz'))
    np.testing.assert_allclose(log.last.scores['graph'], kept['graph'], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_broken_image_is_named_or_skipped_and_counted(tiny, photos):
    config = tiny(*photos, 'trainer.max_epochs=1')
    told = r"^cannot read image \d+, '.*(5|24).png': .*; mend or remove it, or data.on_error=skip$"
    with pytest.raises(ConfigError, match=told):
        train.run(config)
    config = tiny(*photos, 'trainer.max_epochs=1', 'data.on_error=skip')
    out = train.run(config)
    assert out['skipped'] == ['test 24.png', 'train 5.png']
    kept = dict(np.load(Path(out['folder']) / 'scores.npz'))
    assert kept['index'].tolist() == [0, 1, 2, *range(4, 13)] and out['images']['test'] == 12
    cached = train.run(tiny(*photos, 'trainer.max_epochs=1', 'data.on_error=skip', *FROZEN, 'features.flip=false'))
    assert cached['skipped'] == out['skipped']
    kept = dict(np.load(Path(cached['folder']) / 'scores.npz'))
    assert kept['index'].tolist() == [0, 1, 2, *range(4, 13)]


@pytest.mark.parametrize(
    ('option', 'told'),
    [
        ('max_steps=abc', "'trainer.max_steps' must be a whole number (got 'abc')"),
        ('max_time=2', "'trainer.max_time' must be a name or null (got 2)"),
        ('devices=abc', "'trainer.devices' does not take 'abc': "),
        ('accelerator=tpu', "'trainer.accelerator' does not take 'tpu': "),
        ('precision=17', "'trainer.precision' does not take 17: "),
        ('max_steps=0', "'trainer.max_steps' must not be 0: a run trains and evaluates (got 0)"),
        ('limit_val_batches=0', "'trainer.limit_val_batches' must not be 0: a run trains and evaluates (got 0)"),
        ('limit_train_batches=0.0', "'trainer.limit_train_batches' must not be 0: a run trains and evaluates (got 0)"),
        ('check_val_every_n_epoch=9', "was evaluated: its options of 'trainer' leave none to"),
    ],
)
def test_wrong_options_of_the_trainer_are_named_in_one_line(option, told, tiny):
    row = tiny('data.limit=8', 'data.test_limit=4')
    del row.trainer['accelerator']
    name, value = option.split('=')
    config = OmegaConf.merge(row, OmegaConf.from_dotlist([f'trainer.{name}={value}']))
    with pytest.raises(ConfigError) as error:
        train.run(config)
    assert told in str(error.value) and '\n' not in str(error.value)


def test_divergence_is_an_error_of_one_line(tiny):
    config = tiny('optimizer.name=sgd', 'optimizer.lr=1e30', 'trainer.gradient_clip_val=null', row='digits_baseline')
    told = r'^the (loss|score of some images) is not finite in epoch [12]: take a smaller optimizer.lr \(it is 1e\+30\)'
    with pytest.raises(ConfigError, match=told + ', and --again$'):
        train.run(config)


def test_scores_that_are_no_numbers_are_told(tiny, monkeypatch):
    compute = scores.Scores.compute
    monkeypatch.setattr(scores.Scores, 'compute', lambda self: compute(self) | {'csac': np.full((13, 10), np.nan)})
    with pytest.raises(ConfigError, match='^the score of some images is not finite in epoch 1: '):
        train.run(tiny())


def test_an_error_on_the_way_to_a_loss_that_is_not_finite(tiny, monkeypatch):
    losses = [1.0, float('nan')]

    def step(self, batch, batch_idx):
        self.last_loss = torch.tensor(losses.pop(0))
        raise ValueError('no boxes of NaN')

    monkeypatch.setattr(train.Recognition, 'training_step', step)
    with pytest.raises(ValueError, match='^no boxes of NaN$'):
        train.run(tiny())
    with pytest.raises(ConfigError, match='^the loss is not finite in epoch 1: '):
        train.run(tiny())


def test_weights_that_cannot_be_downloaded(tiny, monkeypatch):
    def offline(*args, **kwargs):
        raise URLError(OSError(101, 'Network is unreachable'))

    monkeypatch.setattr(train, 'Recognition', offline)
    config = tiny('model.weights=DEFAULT')
    with pytest.raises(ConfigError) as error:
        train.run(config)
    assert str(error.value) == (
        f'cannot download the weights of {config.model.backbone}: <urlopen error [Errno 101] Network is unreachable>; '
        'model.weights=PATH takes a file, and none trains without'
    )
    assert not train.run_dir(config).exists()


@pytest.mark.slow
def test_damaged_files_of_a_run(tiny, capsys):
    """Each is named, with what to do; done, the run is as before."""
    config = tiny('data.limit=8', 'data.test_limit=6', 'trainer.max_epochs=2')
    whole = train.run(config)
    folder = Path(whole['folder'])
    result, last, best = (folder / name for name in ('result.json', 'last.ckpt', 'best.ckpt'))
    text, weights = result.read_text(), last.read_bytes()

    result.write_text(text[:99])
    told = f"'{result}' is not valid JSON: .*; delete it, and the same command makes it once more from last.ckpt; "
    with pytest.raises(ConfigError, match=f'^{told}--again starts over$'):
        train.run(config)
    result.write_text('[]')
    with pytest.raises(ConfigError, match='is not what a run leaves: it must hold names .*; delete it'):
        train.run(config)
    result.unlink()
    again = train.run(config)
    assert again['metrics'] == whole['metrics'] and again['history'] == whole['history']

    result.unlink()
    best.unlink()
    for content in (b'text', weights[:5000], b''):
        last.write_bytes(content)
        with pytest.raises(ConfigError, match='last.ckpt is not a readable checkpoint .*; --again starts over$'):
            train.run(config)
    best.write_bytes(weights)
    with pytest.raises(
        ConfigError, match=r"; copy '.*best\.ckpt' over it to go on from the best epoch, or --again starts"
    ):
        train.run(config)
    state = torch.load(best, weights_only=True)
    torch.save({key: state[key] for key in ('state_dict', 'mlsgm_pyg')}, last)
    with pytest.raises(ConfigError, match='last.ckpt holds a model alone: training cannot go on from it; copy '):
        train.run(config)
    name = next(key for key, value in state['state_dict'].items() if value.is_floating_point())
    momentum = state['optimizer_states'][0]['state'][0]
    key = next(key for key, value in momentum.items() if value.dim() > 0)
    for part, told in [
        ({'state_dict': state['state_dict'] | {name: state['state_dict'][name] * torch.nan}}, f'{name}. are NaN'),
        ({'state_dict': state['state_dict'] | {name: state['state_dict'][name].int()}}, f"'{name}' must hold numbers"),
        (
            {'optimizer_states': [{'state': {0: {key: momentum[key] / 0}}}]},
            f'optimizer_states.0.state.0.{key}. are NaN',
        ),
    ]:
        torch.save(state | part, last)
        with pytest.raises(ConfigError, match=rf'last\.ckpt is damaged: .*{told}.*--again starts over'):
            train.run(config)
    content = bytearray(weights)
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    with pytest.raises(ConfigError, match="last.ckpt is not .*: its record '.*' is damaged: the checksum or .*; copy"):
        train.run(config)
    last.write_bytes(best.read_bytes())
    assert train.run(config)['metrics'] == whole['metrics']
    last.write_bytes(b'text')
    result.unlink()
    assert train.run(config, again=True)['metrics'] == whole['metrics']


@pytest.mark.slow
def test_gradients_are_clipped_and_mixed_precision_trains(tiny, monkeypatch):
    norms = []
    clip = torch.nn.utils.clip_grad_norm_

    def watch(parameters, max_norm, *args, **kwargs):
        parameters = list(parameters)
        norm = clip(parameters, max_norm, *args, **kwargs)
        norms.append((max_norm, torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]).norm()))
        return norm

    monkeypatch.setattr(torch.nn.utils, 'clip_grad_norm_', watch)
    config = tiny('trainer.precision=bf16-mixed', 'trainer.max_epochs=1', 'trainer.gradient_clip_val=0.01')
    assert load('voc2007').trainer.gradient_clip_val == 10  # The default of a row; digits clips nothing.
    out = train.run(config)
    assert len(norms) == 3  # 21 images, 8 a step.
    assert all(limit == 0.01 and norm <= 0.0101 for limit, norm in norms)
    assert np.isfinite(out['history'][0]['loss'])
    state = torch.load(Path(out['folder']) / 'last.ckpt', weights_only=True)['state_dict']
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float32}


class Stop(Exception):
    pass


@pytest.mark.parametrize('ema', [0.0, pytest.param(0.9, marks=pytest.mark.slow)])
def test_a_resumed_run_equals_an_uninterrupted_one(tiny, frozen, monkeypatch, ema):
    options = [*frozen, 'trainer.max_epochs=3', f'optimizer.ema_epochs={ema}', 'optimizer.schedule=onecycle']
    whole = train.run(tiny(*options, 'name=whole'))
    config = tiny(*options, 'name=cut')
    step = train.Recognition.training_step

    def stop(self, batch, batch_idx):
        if self.current_epoch == 1 and batch_idx == 1:
            raise Stop
        return step(self, batch, batch_idx)

    monkeypatch.setattr(train.Recognition, 'training_step', stop)
    with pytest.raises(Stop):
        train.run(config)
    monkeypatch.undo()
    monkeypatch.setenv('MLSGM_CACHE', str(Path(config.runs_dir).parent / 'maps'))
    resumed = train.run(config)
    assert_same(whole, resumed)


def assert_same(whole, resumed):
    """Two runs with the same metrics, scores, weights and history."""
    for key in ('graph', 'csac', 'average', 'index', 'y', 'instances'):
        a, b = (np.load(Path(out['folder']) / 'scores.npz')[key] for out in (whole, resumed))
        np.testing.assert_array_equal(a, b)
    assert whole['mAP'] == resumed['mAP']
    texts = [(Path(out['folder']) / 'metrics.csv').read_text() for out in (whole, resumed)]
    rows = [list(csv.DictReader(text.splitlines())) for text in texts]
    for row in rows[0] + rows[1]:
        del row['seconds']
    assert rows[0] == rows[1]
    a, b = (torch.load(Path(out['folder']) / 'last.ckpt', weights_only=True) for out in (whole, resumed))
    assert all(torch.equal(a['state_dict'][key], b['state_dict'][key]) for key in a['state_dict'])
    cards = [one['mlsgm_pyg']['card'] for one in (a, b)]
    cards = [{key: part for key, part in card.items() if key not in ('name', 'date', 'command')} for card in cards]
    assert cards[0] == cards[1] and cards[0]['evaluation']['epoch'] == len(rows[0])


@pytest.mark.slow
def test_a_killed_process_resumes(tiny, tmp_path):
    """SIGKILL in the middle of an epoch of a run on images, with augmentation and worker processes."""
    options = ['data.train_view=crop', 'data.num_workers=1', 'data.num_images=120', 'trainer.max_epochs=3']
    whole, config = (tiny(*options, f'name={name}') for name in ('whole', 'killed'))
    env = dict(os.environ, OMP_NUM_THREADS='1')
    subprocess.run(_command(whole), cwd=ROOT, env=env, check=True, capture_output=True)
    folder = train.run_dir(config)
    process = subprocess.Popen(_command(config), cwd=ROOT, env=env)
    try:
        while not (folder / 'last.ckpt').is_file():
            assert process.poll() is None, 'the run ended before it could be killed'
            time.sleep(0.01)
        time.sleep(0.3)  # Into the second epoch.
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (folder / 'result.json').is_file()
    moved = folder.rename(tmp_path / 'moved')  # A run goes on wherever its directory lies now.
    resume = [*_command(config)[:3], '--resume', str(moved)]
    subprocess.run(resume, cwd=ROOT, env=env, check=True, capture_output=True)
    assert not folder.exists()
    assert_same(*(json.loads((place / 'result.json').read_text()) for place in (train.run_dir(whole), moved)))


def _command(config):
    """The command line of a config."""
    out = {key: value for key, value in OmegaConf.to_container(config).items() if key in ('runs_dir', 'name')}
    for section in ('data', 'model', 'trainer'):
        out |= {f'{section}.{key}': value for key, value in OmegaConf.to_container(config[section]).items()}
    words = [f'{key}={json.dumps(value)}' for key, value in out.items()]
    return [sys.executable, '-m', 'experiments.run', 'digits', *words]


def test_the_history_and_the_best_epoch_travel_with_the_checkpoint(tmp_path):
    logs = RunLog(history=[{'epoch': 0, 'seconds': 1.0, 'mAP': 50.0}], best=50.0), RunLog()
    one, other = (RunFiles(tmp_path, 'last', log) for log in logs)
    other.load_state_dict(one.state_dict())
    assert logs[0] == logs[1]


@pytest.mark.slow
@pytest.mark.parametrize('row', ['digits', 'digits_baseline'])
def test_a_run_on_partial_labels(tiny, frozen, row):
    """Eq. 17 on both heads, from the known labels alone; evaluated on all labels; the full run's maps."""
    options = ['task=partial', 'task.known=0.3', 'trainer.max_epochs=1', 'loss.csac_loss_weight=1']
    config = tiny(*options, *frozen, row=row)
    out = train.run(config)
    assert out['name'] == f'{row}_partial_0.3' and out['config']['loss']['name'] == 'partial_bce'
    assert {key: out['task'][key] for key in ('name', 'known', 'mask_seed')} == {
        'name': 'partial', 'known': 0.3, 'mask_seed': 0,
    }  # fmt: skip
    assert out['labels'] == {'known': round(0.3 * 21 * 10), 'all': 21 * 10}
    assert (np.load(Path(out['folder']) / 'scores.npz')['y'] >= 0).all()

    parts = Parts.read(config)
    module = train.Recognition(config, parts.class_names, parts.train.y)
    y = parts.train.y[:6]
    feature = torch.randn(6, module.model.backbone.out_channels, 4, 4)
    module.log = lambda *args, **kwargs: None
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loss = module.training_step({'feature': feature, 'y': y}, 0)
    torch.manual_seed(0)
    output = module.model.head(feature)
    heads = [output.logits] if row == 'digits_baseline' else [output.graph_logits, output.csac_logits]
    expected = 0.0
    for p in (head.sigmoid() for head in heads):
        for i in range(6):
            known = (y[i] >= 0).nonzero().flatten().tolist()
            part = sum(-torch.log(p[i, c] if y[i, c] == 1 else 1 - p[i, c]) for c in known)
            expected = expected + (5.45 - 4.45 * len(known) / 10) / 10 * part / 6
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
