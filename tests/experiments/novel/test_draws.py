"""Few-shot: stage one never sees a novel label, draws repeat, and both stages run from one command."""

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import mlsgm_pyg
from experiments import few_shot
from experiments.novel import draws, shot_tables
from experiments.novel.stage_one import stage_one_of
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.data import parts
from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.training import train
from mlsgm_pyg.app.training.frozen_maps import FrozenMaps

NOVEL = ['three', 'eight']
OPTIONS = [
    'task=few_shot', 'task.novel=three,eight', 'task.draws=2', 'task.shots=1,2', 'task.ml_sgm_steps=3',
    'task.linear_steps=4', 'task.scratch_steps=3', 'data.num_images=40', 'trainer.max_epochs=1',
    'model.gamma=0.04', 'model.max_instances=4',
]  # fmt: skip


def test_stage_one_has_the_base_classes_alone(tiny):
    full, all_test = parts.build_parts(tiny().data)
    config = tiny('task=few_shot', 'task.novel=three,eight')
    train_part, test_part = parts.build_parts(config.data, config.task)
    names = full.source.class_names
    base = [name for name in names if name not in NOVEL]
    assert train_part.source.class_names == test_part.source.class_names == base and len(base) == 8
    columns = [names.index(name) for name in base]
    assert torch.equal(train_part.y, full.y[:, columns]) and torch.equal(test_part.y, all_test.y[:, columns])
    novel_train, novel_test = parts.build_parts(config.data, config.task, novel=True)
    columns = [names.index(name) for name in NOVEL]
    assert novel_train.source.class_names == NOVEL and torch.equal(novel_test.y, all_test.y[:, columns])
    assert novel_train.rows == full.rows and novel_test.rows == all_test.rows


def test_stage_one_never_sees_a_novel_label(tiny, monkeypatch):
    """Whatever the labels of novel classes say: stage one is the same."""
    config = tiny('task=few_shot', 'task.novel=three,eight')
    before = parts.build_parts(config.data, config.task)
    build = parts.build_source

    def turned(options, split):
        source = build(options, split)
        source.y = source.y.clone()
        for name in NOVEL:
            c = source.class_names.index(name)
            source.y[:, c] = 1 - source.y[:, c]
        return source

    monkeypatch.setattr(parts, 'build_source', turned)
    after = parts.build_parts(config.data, config.task)
    for one, other in zip(before, after):
        assert one.rows == other.rows and torch.equal(one.y, other.y)
    novel = parts.build_parts(config.data, config.task, novel=True)
    monkeypatch.undo()
    assert not torch.equal(novel[0].y, parts.build_parts(config.data, config.task, novel=True)[0].y)


def test_images_with_novel_classes_can_be_left_out(tiny):
    mask, drop = (
        tiny('task=few_shot', 'task.novel=three,eight', f'task.novel_images={how}', 'data.dev=0.2')
        for how in ('mask', 'drop')
    )
    (whole, held_out), (part, test) = (parts.build_parts(c.data, c.task) for c in (mask, drop))
    novel, _ = parts.build_parts(mask.data, mask.task, novel=True)
    kept = [i for i, y in zip(novel.rows, novel.y) if not (y == 1).any()]
    assert part.rows == kept and 0 < len(kept) < len(whole.rows)
    assert test.rows == held_out.rows  # Evaluation leaves nothing out.
    assert parts.build_parts(drop.data, drop.task, novel=True)[0].rows == whole.rows  # Examples come from all images.


def test_drawn_novel_classes(tiny):
    config = tiny('task=few_shot', 'task.num_novel=3')
    (part, _), (novel, _) = (parts.build_parts(config.data, config.task, novel=n) for n in (False, True))
    assert len(part.source.class_names) == 7 and len(novel.source.class_names) == 3
    assert not set(part.source.class_names) & set(novel.source.class_names)


@pytest.mark.slow
def test_both_stages_from_one_command(made, capsys):
    config, words = made()
    path = few_shot.run(config, words, 'the command')
    out = json.loads(path.read_text())
    assert out['classes']['novel'] == NOVEL and len(out['classes']['base']) == 8
    assert set(out['started_from']) == set(NOVEL) and set(out['started_from'].values()) <= set(out['classes']['base'])
    assert [point['shots'] for point in out['summary']] == [1, 2] and len(out['draws']) == 4
    train_part, test = parts.build_parts(config.data, config.task, novel=True)
    for draw in out['draws']:
        y = train_part.y[[train_part.files.index(file) for file in draw['files']]]
        assert draw['positives'] == dict(zip(NOVEL, (y == 1).sum(0).tolist()))
        assert min(draw['positives'].values()) >= draw['shots']
        assert list(draw['methods']) == ['ml_sgm', 'linear', 'scratch']
        for found in draw['methods'].values():
            assert list(found['AP']) == NOVEL
            assert found['mAP'] == pytest.approx(statistics.mean(found['AP'].values()))
    assert out['draws'][0]['files'] != out['draws'][1]['files']
    point = out['summary'][0]
    values = {m: [draw['methods'][m]['mAP'] for draw in out['draws'][:2]] for m in ('ml_sgm', 'linear')}
    assert point['methods']['linear']['values'] == values['linear']
    assert point['methods']['linear']['std'] == pytest.approx(np.std(values['linear'], ddof=1))
    gains = [a - b for a, b in zip(values['ml_sgm'], values['linear'])]
    assert point['gains']['linear']['difference'] == pytest.approx(np.mean(gains))
    stage_one = mlsgm_pyg.load(train.run_dir(config) / 'last.ckpt')
    assert stage_one.class_names == out['classes']['base'] and stage_one.word_vectors.shape == (8, 6)

    capsys.readouterr()
    for table in (shot_tables.few_shot(out), shot_tables.few_shot_classes(out)):
        table.print()
    shown = ' '.join(capsys.readouterr().out.split())
    assert 'ml_sgm - linear' in shown and 'three' in shown and f'{point["methods"]["linear"]["mAP"]:.2f} ±' in shown


@pytest.mark.slow
def test_finished_draws_are_read_and_draws_repeat(made, capsys, tmp_path):
    config, words = made()
    path = few_shot.run(config, words)
    out, before = json.loads(path.read_text()), (path.parent / 'draws.json').read_text()
    capsys.readouterr()
    assert few_shot.run(config, words) == path
    assert (path.parent / 'draws.json').read_text() == before
    assert 'draw' not in capsys.readouterr().out.replace(str(tmp_path), '').split('is finished')[1]
    more, words = made('task.draws=3', 'task.methods=linear', 'task.shots=1')
    again = json.loads(few_shot.run(more, words, 'one more').read_text())
    assert len(again['draws']) == 5  # One draw more, of one method; the others stay.
    assert again['draws'][:2] + again['draws'][3:] == out['draws'] and again['summary'][1] == out['summary'][1]
    assert list(again['draws'][2]['methods']) == ['linear']
    point = again['summary'][0]
    assert again['first'] == 'ml_sgm' and point['gains'] == out['summary'][0]['gains']  # Of the draws that both have.
    assert [len(point['methods'][method]['values']) for method in ('ml_sgm', 'linear', 'scratch')] == [2, 3, 2]
    assert [by['command'] for by in again['made_by']] == ['', 'one more']

    config, words = made('task.draws=1', 'task.shots=2')
    once_more = json.loads(few_shot.run(config, words, again=True).read_text())
    assert len(once_more['draws']) == 5
    for method, found in once_more['draws'][3]['methods'].items():  # Draws repeat, whatever went before.
        assert {**found, 'seconds': 0} == {**out['draws'][2]['methods'][method], 'seconds': 0}


def test_paired_differences_over_draws():
    values = [1.0, 2.0, -0.5, 1.5]
    found = draws.paired(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found['low'], found['high']) == pytest.approx((low, high))
    assert (found['difference'], found['draws'], found['ahead']) == (1.0, 4, 3)
    alone = draws.paired([2.0])
    assert alone['low'] is alone['high'] is None and alone['difference'] == 2.0
    assert draws.spread([2.0])['std'] == 0.0


def test_options_of_stage_two_do_not_train_stage_one_again(tiny):
    one = tiny('task=few_shot', 'task.novel=three')
    options = ['task.shots=3', 'task.draws=7', 'task.ml_sgm_lr=0.5', 'task.classifier=random', 'task.loss=weighted_bce']
    assert configs.fingerprint(one) == configs.fingerprint(tiny('task=few_shot', 'task.novel=three', *options))
    for other in ('task.novel_images=drop', 'seed=0'):
        again = configs.fingerprint(tiny('task=few_shot', 'task.novel=three', other))
        assert (again == configs.fingerprint(one)) == (other == 'seed=0')
    assert one.name == 'digits_few_shot' and one.loss.name == 'weighted_bce'


def test_the_loss_of_stage_two_leaves_stage_one_alone(made, monkeypatch):
    asked = []

    def fake(config, again, command):
        asked.append((configs.fingerprint(config), command))
        return {'command': command, 'mAP': 1.0, 'score': 'graph', 'select': 'last', 'seconds': {'total': 1}}

    monkeypatch.setattr(train, 'run', fake)
    for more in ([], ['loss.gamma_neg=2', 'loss.margin=0']):
        stage_one_of(*made(*more), again=False)
    (first, command), (second, other) = asked
    assert first == second and command == other
    assert command.startswith('python -m experiments.run digits task=few_shot') and 'task.shots' not in command


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (['coco18_few_shot', 'task.shots=1'], ['coco18_few_shot', 'task.shots=1']),
        (['digits', 'task.novel=one'], ['digits', 'task=few_shot', 'task.novel=one']),
        (['digits', 'task.name=few_shot'], ['digits', 'task.name=few_shot']),
    ],
)
def test_the_task_is_understood(words, expected):
    assert few_shot.with_task(words) == expected


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['digits', 'coco18'], 'a few-shot command is for one row (got digits coco18)'),
        (['task.shots=1'], 'a few-shot command is for one row (got none)'),
        (['digits', 'task.novel=one', 'seeds=0,1'], 'stage one is one run: give it one seed=N (got seeds)'),
        (
            ['digits', 'task.novel=one', 'task.methods=linear,ml_sgm', '--save'],
            '--save keeps models of ml_sgm or scratch: name one first (got task.methods=linear,ml_sgm)',
        ),
        (['digits', 'task.novel=one', 'task.linear_crop=2'], "'task.linear_crop' must be in [0, 1] (got 2.0)"),
        (['digits'], 'task=few_shot needs the novel classes: task.novel=a,b,c or, to draw some, task.num_novel=N'),
        (
            ['digits', 'task=full'],
            'few-shot needs task=few_shot and model.name=ml_sgm (got task=full, model.name=ml_sgm)',
        ),
        (
            ['digits_baseline', 'task.novel=one'],
            'few-shot needs task=few_shot and model.name=ml_sgm (got task=few_shot, model.name=baseline)',
        ),
        (
            ['digits', 'task.novel=one', 'task.base=nowhere/last.ckpt'],
            "there is no checkpoint of stage one 'nowhere/last.ckpt'",
        ),
    ],
)
def test_errors(words, message, capsys):
    assert few_shot.main(words) == 2
    assert capsys.readouterr().err.strip() == f'error: {message}'


def test_a_checkpoint_that_is_not_stage_one(trained, tiny, words, tmp_path):
    """One that knows the novel classes, one with other word vectors or another backbone, and classes nobody shows."""
    path = Path(trained['folder']) / 'last.ckpt'
    given = ['task=few_shot', 'task.novel=three', f'task.base={path}', f'features.dir={tmp_path / "maps"}']
    given += ['model.gamma=0.04', 'model.max_instances=4']

    def message(*more):
        with pytest.raises(ConfigError) as error:
            draws.build_learner(tiny(*given, *more), path)
        return str(error.value)

    assert message() == f"stage one must not know the novel classes: '{path}' was trained on three"
    other = message('model.backbone=resnet34')
    assert other == f"'model.backbone' must be as in '{path}', resnet18 (got resnet34)"

    base = mlsgm_pyg.load(path)
    base.class_names = [name for name in base.class_names if name != 'three'] + ['another']
    with pytest.raises(ValueError, match='semantics.source=onehot says nothing of a class it has not seen'):
        draws.words_of(tiny(*given), base, ['three'], path)
    base.class_names[-1] = 'three'
    with pytest.raises(ValueError, match=r"must give the word vectors of '.*' \(got other ones from '.*words.npz'\)"):
        draws.words_of(tiny(*given, words), base, ['elephant'], path)


def test_a_head_of_other_sizes_is_an_error_of_one_line(trained, tiny, words, tmp_path, monkeypatch):
    path = Path(trained['folder']) / 'last.ckpt'
    base = mlsgm_pyg.load(path)
    monkeypatch.setattr(draws, 'read_base', lambda *args: base)
    monkeypatch.setattr(draws, 'words_of', lambda config, base, novel, path: torch.eye(10)[: len(novel)])
    given = ['task=few_shot', 'task.novel=three', f'task.base={path}', f'features.dir={tmp_path / "maps"}', words]
    with pytest.raises(ConfigError, match='must be those of stage one, .*the reduction of the base model does not'):
        draws.build_learner(tiny(*given, 'model.feature_channels=8'), path)
    learner = draws.build_learner(tiny(*given, 'model.feature_channels=8', 'task.methods=linear'), path)
    assert learner.maps.test_maps is None  # Found out before any map was computed.


def test_unreadable_examples_are_drawn_again():
    """Every class has K examples that can be read, whatever was known of other images before."""
    y = torch.zeros(12, 2, dtype=torch.int8)
    y[:6, 0], y[6:, 1] = 1, 1
    part = type('Part', (), {'y': y, 'files': [f'{i}.png' for i in range(12)]})()
    config = type('Config', (), {'task': type('Task', (), {'draw_seed': 0, 'negatives': 0})()})()

    def maps(broken):
        return type('Maps', (), {'train': part, 'unreadable': lambda self, rows: [i for i in rows if i in broken]})()

    first, none = draws.choose(config, maps(set()), 2, 0)
    assert none == [] and (y[first] == 1).sum(0).tolist() == [2, 2]
    spared = next(i for i in range(12) if i not in first)
    assert draws.choose(config, maps({spared}), 2, 0) == (first, [])  # Not drawn: changes nothing.
    chosen, unreadable = draws.choose(config, maps({first[0], first[3]}), 2, 0)
    assert unreadable == [part.files[first[0]], part.files[first[3]]]
    assert (y[chosen] == 1).sum(0).tolist() == [2, 2] and not {first[0], first[3]} & set(chosen)
    with pytest.raises(ConfigError, match='1 of 2 novel classes have no example .* without 6 images that cannot'):
        draws.choose(config, maps(set(range(6))), 3, 0)


def test_negatives_show_no_novel_class_and_are_the_same_for_every_number_of_shots():
    y = torch.zeros(20, 2, dtype=torch.int8)
    y[:4, 0], y[4:8, 1] = 1, 1
    part = type('Part', (), {'y': y, 'files': [f'{i}.png' for i in range(20)]})()
    maps = type('Maps', (), {'train': part, 'unreadable': lambda self, rows: []})()

    def draw(shots_, negatives, index=0):
        task = type('Task', (), {'draw_seed': 0, 'negatives': negatives})()
        chosen, _ = draws.choose(type('Config', (), {'task': task})(), maps, shots_, index)
        return [i for i in chosen if i < 8], [i for i in chosen if i >= 8]

    assert draw(1, 0)[1] == [] and draw(1, 5)[0] == draw(1, 0)[0]
    assert len(draw(1, 5)[1]) == 5 and draw(1, 5)[1] == draw(3, 5)[1] != draw(1, 5, index=1)[1]
    assert draw(1, 99)[1] == list(range(8, 20))


def test_a_novel_class_that_no_training_image_shows(made, monkeypatch):
    config, words = made()
    monkeypatch.setattr(draws, 'read_base', lambda *args: type('Base', (), {'backbone': None, 'class_names': []})())
    monkeypatch.setattr(draws, 'words_of', lambda *args: None)
    part = type('Part', (), {'y': torch.tensor([[1, 0], [0, 0]]), 'source': type('S', (), {'class_names': NOVEL})()})()
    monkeypatch.setattr(draws, 'FrozenMaps', lambda *args: type('Maps', (), {'train': part})())
    with pytest.raises(ConfigError, match='no training image shows the novel class eight: there is no example'):
        draws.build_learner(config, Path('x'))


@pytest.mark.slow
def test_the_command_with_a_checkpoint_and_kept_models(made, command_line, capsys, tmp_path):
    """Stage two alone from a checkpoint; images that cannot be read are left out; the kept model gives its scores."""
    config, words = made()
    one = train.run(config)
    base = Path(one['folder']) / 'last.ckpt'
    given = [
        w for w in command_line.words(config) if not w.startswith(('name=', 'loss.name=', 'task.name=', 'task.base'))
    ]
    given = ['digits', 'task=few_shot', *given, f'task.base={base}', 'task.draws=1', 'task.shots=1']
    assert few_shot.main([*given, '--save']) == 0
    path = Path(capsys.readouterr().out.split()[-1])
    out = json.loads(path.read_text())
    assert out['stage_one'] == {'checkpoint': '/'.join(base.parts[-3:])}
    kept = mlsgm_pyg.load(path.parent / 'shots1-draw0-ml_sgm.ckpt')
    assert not list(path.parent.glob('.*.tmp'))
    assert kept.class_names == NOVEL
    made_of = kept.card['trained_on']
    assert made_of['positives'] == out['draws'][0]['positives'] and made_of['loss'] == 'asymmetric_focal'
    assert (made_of['shots'], made_of['draw'], made_of['images']) == (1, 0, len(out['draws'][0]['files']))
    assert kept.card['evaluation']['metrics']['mAP'] == round(out['draws'][0]['methods']['ml_sgm']['mAP'], 2)
    assert kept.card['command'].startswith('python -m experiments.few_shot digits task=few_shot ')
    before = mlsgm_pyg.load(base).backbone.state_dict()
    assert all(torch.equal(before[key], value) for key, value in kept.backbone.state_dict().items())
    test = parts.build_parts(config.data, config.task, novel=True)[1]
    maps = FrozenMaps(config, kept.backbone)
    with torch.no_grad():
        logits = torch.cat([kept.head(batch['feature']).graph_logits for batch in maps.batches()]).numpy()
    found = {'index': np.arange(13), 'y': test.y.numpy(), 'graph': logits}
    again = scores.evaluate(found, 'graph', NOVEL, 'non_interpolated', 'threshold')
    assert again['mAP'] == pytest.approx(out['draws'][0]['methods']['ml_sgm']['mAP'], abs=1e-6)
