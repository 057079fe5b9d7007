"""Zero-shot: unseen labels are scored by their words alone, beside seen ones that keep their scores."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

import mlsgm_pyg
from experiments import zero_shot
from experiments.novel import shot_tables, zero_shot_scores
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import write_json
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.data import parts
from mlsgm_pyg.app.training import train
from mlsgm_pyg.app.training.frozen_maps import FrozenMaps
from mlsgm_pyg.datasets import Digits
from tests.app.finished_runs import result_of

NOVEL = ['three', 'eight']
OPTIONS = [
    'task=few_shot', 'task.novel=three,eight', 'data.num_images=40', 'trainer.max_epochs=1', 'model.gamma=0.04',
    'model.max_instances=4',
]  # fmt: skip


@pytest.fixture
def stage_one(tiny, made, words):
    """A checkpoint as stage one leaves it, not trained."""
    config, _ = made()
    names, _ = parts.split_classes(Digits('train', num_images=1, size=32).class_names, config.task)
    module = train.Recognition(config, names, torch.zeros(4, 8))
    state = {f'model.{key}': value for key, value in module.model.state_dict().items()}
    about = mlsgm_pyg.checkpoint.pack(module.model_options, names, module.words, configs.plain(config))
    path = Path(config.runs_dir) / 'base' / 'last.ckpt'
    path.parent.mkdir(parents=True)
    torch.save({'state_dict': state, mlsgm_pyg.checkpoint.KEY: about}, path)
    return path


def percent(y, values):
    """mAP by scikit-learn."""
    return 100 * np.mean([average_precision_score(y[:, c] == 1, values[:, c]) for c in range(y.shape[1])])


@pytest.mark.slow
def test_seeds_and_all_labels_from_one_command(made, tiny, frozen, words, capsys):
    config, given = made('seeds=0,1')
    full = [word for word in OPTIONS if not word.startswith('task')]
    finished = [train.run(tiny(*full, *frozen, words, f'seed={seed}')) for seed in (0, 1)]
    path = zero_shot.run(config, given, 'the command')
    out = json.loads(path.read_text())
    assert out['seeds'] == [0, 1] and out['classes']['unseen'] == NOVEL and len(out['classes']['seen']) == 8
    assert list(out['methods']) == list(shot_tables.METHODS) and out['command'] == 'the command'
    vectors = dict(np.load(words.partition('=')[2]))
    unit = vectors['vectors'] / np.linalg.norm(vectors['vectors'], axis=1, keepdims=True)
    of = dict(zip(vectors['names'].tolist(), unit))
    for number, told in enumerate(out['stage_one']):
        folder = Path(config.runs_dir, *Path(told['checkpoint']).parts[-3:]).parent
        base, scores = mlsgm_pyg.load(folder / 'last.ckpt'), np.load(folder / 'scores.npz')
        assert told['seed'] == number and f'seed={number}' in told['command'] and 'seeds=' not in told['command']
        found = {part: out['methods']['ml_sgm'][part]['values'][number] for part in ('unseen', 'seen')}
        assert found['seen'] == pytest.approx(told['mAP'])  # Seen labels keep the scores of stage one.
        part = parts.build_parts(config.data)[1]
        test = part.y[:, [part.source.class_names.index(name) for name in NOVEL]].numpy()
        asked = base.with_labels(NOVEL, unseen_maps='none')
        with torch.no_grad():
            logits = torch.cat(
                [asked.head(batch['feature']).logits for batch in FrozenMaps(config, base.backbone).batches()]
            )
        assert found['unseen'] == pytest.approx(percent(test, logits.numpy()))
        near = [max(range(8), key=lambda c: of[name] @ of[base.class_names[c]]) for name in NOVEL]
        rule = percent(test, scores['graph'][:, near])
        assert out['methods']['nearest_label']['unseen']['values'][number] == pytest.approx(rule)
        assert list(out['nearest']['three'])[0] == base.class_names[near[0]]
        theirs = [finished[number]['metrics']['AP'][name] for name in NOVEL]
        assert out['methods']['all_labels']['unseen']['values'][number] == pytest.approx(np.mean(theirs))
    means = {key: out['methods'][key]['unseen']['mAP'] for key in out['methods']}
    for method in ('ml_sgm', 'ml_sgm_maps', 'nearest_labels', 'all_labels'):
        gain = out['gains'][method]
        assert gain['difference'] == pytest.approx(means[method] - means['nearest_label']) and gain['images'] == 13
    assert list(out['methods']['ml_sgm_maps']['by_score']) == ['graph', 'csac', 'average']
    capsys.readouterr()
    shot_tables.zero_shot(out).print()
    shown = ' '.join(capsys.readouterr().out.split())
    assert 'chance' in shown and f'{means["ml_sgm"]:.2f} ±' in shown and 'over the nearest label' in shown


def test_the_command_with_a_checkpoint(stage_one, made, command_line, capsys):
    config, _ = made(f'task.base={stage_one}', 'task.unseen=eight', 'task.unseen_maps=nearest', 'task.num_nearest=2')
    given = [word for word in command_line.words(config) if not word.startswith(('name=', 'loss.name=', 'task.name='))]
    assert zero_shot.main(['digits', 'task=few_shot', *given]) == 0
    shown = capsys.readouterr().out
    out = json.loads(Path(shown.split()[-1]).read_text())
    assert out['classes']['unseen'] == ['eight'] and 'three' not in out['classes']['seen']
    assert list(out['methods']) == ['ml_sgm_maps', 'nearest_label', 'nearest_labels']  # No run on all labels.
    assert len(out['nearest']['eight']) == 2 and sum(out['nearest']['eight'].values()) == pytest.approx(1, abs=1e-3)
    assert out['stage_one'] == [{'seed': 0, 'checkpoint': '/'.join(stage_one.parts[-3:])}]
    assert out['gains'].keys() == {'ml_sgm_maps', 'nearest_labels'} and out['without_gain'] == {}
    assert zero_shot.main(['digits', 'task=few_shot', *given, 'metrics.ap=interpolated_11']) == 0
    shown = capsys.readouterr().out
    why = 'intervals are of non-interpolated AP alone'
    assert json.loads(Path(shown.split()[-1]).read_text())['without_gain'].keys() == out['gains'].keys()
    assert f'weighted scores of the nearest labels: no gain, as {why}' in shown


def test_chance_is_the_mean_over_all_orders():
    y = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, -1, 0], [1, 1, 0]])
    found = zero_shot_scores.expected_ap(y)
    for c in range(2):
        known = y[y[:, c] >= 0, c]
        orders = itertools.permutations(range(len(known)))
        mean = np.mean([average_precision_score(known, order) for order in orders])
        assert found[c] == pytest.approx(100 * mean)
    assert np.isnan(found[2]) and zero_shot_scores.expected_ap(np.array([[1]])) == [100]
    many = (np.arange(10000) < 300).astype(int)[:, None]
    assert 3 < zero_shot_scores.expected_ap(many)[0] < 3.2  # A little above the label's frequency.


def test_the_mean_of_probabilities():
    logits = torch.tensor([[0.3, -2.0, 1.5], [40.0, -40.0, 0.0]], dtype=torch.double)
    weights = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.2, 0.3]], dtype=torch.double)
    found = zero_shot_scores.mean_of_probabilities(logits, weights)
    torch.testing.assert_close(found[:, 0], logits[:, 1])
    torch.testing.assert_close(found[:, 1].sigmoid(), logits.sigmoid() @ weights[1])


def test_options_of_zero_shot_do_not_train_stage_one_again(tiny):
    one = tiny('task=few_shot', 'task.novel=three,eight')
    other = tiny('task=few_shot', 'task.novel=three,eight', 'task.unseen=three', 'task.unseen_maps=none')
    assert configs.fingerprint(one) == configs.fingerprint(other)
    assert zero_shot.fingerprint(one, [0]) != zero_shot.fingerprint(other, [0])
    assert configs.fingerprint(one) != configs.fingerprint(tiny('task=few_shot', 'task.novel=three'))


def test_words_are_dropped_as_the_config_says(tiny, words):
    names = Digits('train', num_images=1, size=32).class_names
    module = train.Recognition(tiny('model.word_dropout=0.3', words), names, torch.zeros(4, 10))
    assert module.model.ilms.word_dropout.p == 0.3 and module.model_options['word_dropout'] == 0.3
    baseline = train.Recognition(
        tiny('model.word_dropout=0.3', words, row='digits_baseline'), names, torch.zeros(4, 10)
    )
    assert 'word_dropout' not in baseline.model_options


def test_runs_on_all_labels_must_fit(stage_one, made, tmp_path, capsys):
    config, _ = made(f'task.base={stage_one}')
    found = zero_shot_scores.evaluate(config, stage_one)
    mine = found.methods['ml_sgm']
    folder = tmp_path / 'elsewhere' / 'full'
    folder.mkdir(parents=True)
    about = result_of(configs.load('digits'), {'AP': dict.fromkeys(found.names[::-1], 1.0)}, score='graph')
    write_json(folder / 'result.json', about)
    values = {
        'index': mine['index'],
        'instances': np.ones(len(mine['y'])),
        'y': mine['y'][:, ::-1],
        'graph': mine['logits'][:, ::-1],
    }
    np.savez(folder / 'scores.npz', **values)
    full = zero_shot_scores.full_runs(config, [0, 1], [found], [folder.parent])
    assert list(full) == [0] and np.array_equal(full[0]['logits'], mine['logits'])  # By name, in our order.
    assert zero_shot_scores.full_runs(config, [0], [found], []) == {}

    def message():
        with pytest.raises(ConfigError) as error:
            zero_shot_scores.full_runs(config, [0], [found], [folder.parent])
        return str(error.value)

    other = folder.with_name('other')
    shutil.copytree(folder, other)
    assert message() == f"two runs on all labels have seed 0, '{folder}' and '{other}': name one"
    assert list(zero_shot_scores.full_runs(config, [0], [found], [folder, folder])) == [0]
    (other / 'result.json').write_text('{')
    assert list(zero_shot_scores.full_runs(config, [0], [found], [folder.parent])) == [0]
    assert capsys.readouterr().err.startswith(f"left out: '{other / 'result.json'}' is not valid JSON: ")
    with pytest.raises(ConfigError, match=rf"^'{other / 'result.json'}' is not valid JSON: "):
        zero_shot_scores.full_runs(config, [0], [found], [other])
    shutil.rmtree(other)

    np.savez(folder / 'scores.npz', **values | {'y': 1 - values['y']})
    assert message() == f"'{folder}' cannot stand beside these scores: it has other images or labels (13, here 13)"
    write_json(
        folder / 'result.json', about | {'metrics': about['metrics'] | {'AP': dict.fromkeys(found.names[:-1], 1.0)}}
    )
    assert message() == f"'{folder}' cannot stand beside these scores: it has no eight"
    write_json(folder / 'result.json', about | {'seed': 3})
    assert message() == f"'{folder.parent}' holds no finished run on all labels with seed 0"


def test_a_checkpoint_that_is_not_stage_one(stage_one, trained, made, words, tmp_path):
    def message(path, *more):
        with pytest.raises(ConfigError) as error:
            zero_shot_scores.evaluate(made(*more)[0], path)
        return str(error.value)

    path = Path(trained['folder']) / 'last.ckpt'
    assert message(path) == f"stage one must not know the unseen classes: '{path}' was trained on three, eight"
    assert message(tmp_path / 'lost.ckpt') == f"there is no checkpoint of stage one '{tmp_path / 'lost.ckpt'}'"
    told = message(stage_one, 'task.novel=three')
    assert told.startswith(f"'{stage_one}' must have been trained on the base classes, zero, one, two, four, five")
    other = tmp_path / 'other.npz'
    names = Digits('train', num_images=1, size=32).class_names
    np.savez(other, names=names, vectors=np.ones((10, 6), np.float32))
    told = message(stage_one, f'semantics.source={other}')
    assert told.startswith(f"'{other}' must give the word vectors that the model was trained with")
    assert "'onehot' says nothing of a label" in message(stage_one, 'semantics.source=onehot')


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (['digits', 'coco18'], 'a zero-shot command is for one row (got digits coco18)'),
        (['digits', 'task.novel=one', 'seeds=0,0'], 'each seed counts once (got seeds=0,0)'),
        (
            ['digits', 'task.novel=one', 'seeds=0,1', 'task.base=x.ckpt'],
            'task.base is one checkpoint: it has one seed (got 2)',
        ),
        (
            ['digits_baseline', 'task.novel=one'],
            'zero-shot needs task=few_shot and model.name=ml_sgm (got task=few_shot, model.name=baseline)',
        ),
        (
            ['digits', 'task.novel=one', 'task.unseen=two'],
            "'task.unseen' are some of the novel classes, one (got 'two')",
        ),
        (
            ['digits', 'task.novel=one', 'task.unseen_maps=near'],
            "'task.unseen_maps' has no 'near': did you mean 'nearest'?",
        ),
        (['digits', 'task.novel=one', 'task.num_nearest=0'], "'task.num_nearest' must be at least 1 (got 0)"),
        (['digits', 'task=full', 'task.unseen_maps=none'], "'task.unseen_maps' needs task=few_shot (got task=full)"),
    ],
)
def test_errors(given, message, capsys):
    assert zero_shot.main(given) == 2
    assert capsys.readouterr().err.strip() == f'error: {message}'
