"""Stored graphs: they give the images' own scores, are what trains, and belong to one checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from torch_geometric.loader import DataLoader

import mlsgm_pyg
from experiments import run
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.data import graph_store
from mlsgm_pyg.app.data.feature_store import FeatureStores
from mlsgm_pyg.app.data.parts import Parts
from mlsgm_pyg.app.training import train
from mlsgm_pyg.app.training.run_log import RunLog
from mlsgm_pyg.datasets import ImageDataset, ImageError, Subset, build_view, collate
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, NEAR, RELATED


def attached(config):
    """The data of a run beside its model, prepared as Lightning does it."""
    parts = Parts.read(config)
    module = train.Recognition(config, parts.class_names, parts.train.y)
    data = train.DataModule(config, parts, module.model)
    data.trainer = trainer = train.build_trainer(config, train.run_dir(config), RunLog())
    trainer.strategy.connect(module)
    data.prepare_data()
    data.setup('fit')
    return data, module


def test_stored_graphs_give_the_scores_of_their_images(stored):
    config = stored('features.cache=false')  # No rounding to float16 between the backbone and the graphs.
    data, module = attached(config)
    model = mlsgm_pyg.load(config.graphs.csac)
    batch = next(iter(DataLoader(data.test_data, len(data.test_data))))
    images = ImageDataset(Subset(*data.parts.test), build_view('resize', 32))
    expected = collate([images[i] for i in range(len(images))])
    with torch.no_grad():
        out, head = graph_store.match(model, batch), model.head(model.features(expected['image']))
    for name in ('logits', 'graph_logits', 'csac_logits', 'match_logits', 'label_x'):
        assert_close(getattr(out, name), getattr(head, name), rtol=1e-5, atol=1e-5)
    assert_close(out.instances[:6], head.instances[:6], rtol=1e-5, atol=1e-5)  # All but the sizes, which ptr says too.
    assert torch.equal(batch.index, expected['index']) and torch.equal(batch.y, expected['y'])
    assert head.instances.ptr.diff().max() > 2  # Else the test would say little.


def test_collated_graphs_are_the_builders_and_take_the_fast_form(stored):
    data, module = attached(stored())
    model = module.model.eval()
    batch = next(iter(DataLoader(data.test_data, 5)))
    maps = torch.cat([part['feature'] for part in data._map_batches(data.parts.test, 'resize')])
    with torch.no_grad():
        built = model.graphs(maps[:5].float(), batch.y)
        regular = model.match(batch, regular=True).logits
        assert_close(model.match(batch).logits, regular, rtol=1e-4, atol=1e-5)
    assert built.node_types == batch.node_types and set(built.edge_types) == set(batch.edge_types)
    for store in built.stores[1:]:  # The first is of the whole graph: y, and here the scores and numbers too.
        for name, value in store.items():
            mine = batch[store._key][name]
            if torch.is_tensor(value):
                assert_close(mine, value)
            else:
                assert mine == value
    assert torch.equal(built.y, batch.y)


def test_stored_graphs_have_the_direct_paths_scores(stored, tmp_path):
    """From a file, through PyG's loader; in double precision, where the order of a batch is no rounding."""
    data, module = attached(stored())
    model, batches = module.model.eval().double(), list(data._map_batches(data.parts.test, 'resize'))
    graph_store.write(tmp_path / 'graphs.pt', model, batches)
    store = graph_store.EpochGraphs(
        [graph_store.GraphDataset(tmp_path / 'graphs.pt', model.ilms.assign)], len(data.parts.test.rows)
    )
    with torch.no_grad():
        found = torch.cat([graph_store.match(model, batch).logits for batch in DataLoader(store, 4)])
        direct = model.head(torch.cat([batch['feature'] for batch in batches]).double()).logits
    assert_close(found, direct, rtol=0, atol=1e-10)


def test_the_file_holds_nothing_that_all_images_share(stored):
    data, _ = attached(stored())
    file = data._graph_path(data.parts.test, 'resize')
    fields, _, _ = torch.load(file, weights_only=True)
    assert {INSTANCE, NEAR} <= set(fields)
    assert not {LABEL, RELATED, MATCHES} & set(fields)


@pytest.mark.slow
def test_one_command_trains_encoder_blocks_and_decoders_alone(stored, capsys):
    config = stored('trainer.max_epochs=1', 'features.cache=false')  # No rounding of maps to float16.
    words = [f'{key}={json.dumps(value)}' for key, value in _flat(config)]
    assert run.main(['digits', *words]) == 0
    folder = train.run_dir(config)
    out = json.loads((folder / 'result.json').read_text())
    before = torch.load(config.graphs.csac, weights_only=True)['state_dict']
    built = train.Recognition(config, out['metrics']['AP'], torch.ones(3, 10))
    start = built.state_dict()
    after = torch.load(folder / 'last.ckpt', weights_only=True)['state_dict']
    for key in after:
        part = key.split('.')[1]
        if part in graph_store.FIXED:
            assert torch.equal(after[key], before[key]), f'{key} was not to change'
    learned = tuple(f'model.ilms.{part}' for part in ('encoder', 'blocks', 'decoder', 'deep'))
    parts = {key[: key.index('.', 11)] for key in after if not torch.equal(after[key], start[key])}
    assert parts >= set(learned)
    trainable = sum(v.numel() for k, v in built.named_parameters() if k.startswith(learned))
    assert out['parameters']['trained'] == trainable

    kept = np.load(folder / 'scores.npz')  # What the loaded checkpoint says of the images themselves.
    model, part = mlsgm_pyg.load(folder / 'last.ckpt'), Parts.read(config).test
    images = ImageDataset(Subset(*part), build_view('resize', 32))
    with torch.no_grad():
        logits = model(collate([images[i] for i in range(len(images))])['image'])
    np.testing.assert_allclose(kept['graph'], logits.graph_logits, atol=1e-4)
    np.testing.assert_allclose(kept['csac'], logits.csac_logits, atol=1e-4)
    np.testing.assert_array_equal(kept['index'], np.arange(13))


def _flat(config):
    for key in ('data', 'model', 'features', 'graphs', 'trainer'):
        yield from ((f'{key}.{name}', value) for name, value in train.OmegaConf.to_container(config[key]).items())
    yield 'runs_dir', config.runs_dir


def test_mirrored_graphs_are_drawn_by_seed_epoch_and_image(stored):
    data, _ = attached(stored('seed=3'))
    plain, mirrored = data.train_data.stores
    seen = []
    for epoch in range(4):
        data.train_data.set_epoch(epoch)
        pick = np.random.default_rng([3, epoch, 4]).integers(2, size=21)
        for i in range(len(data.train_data)):
            expected = (plain, mirrored)[pick[i]][i]
            assert_close(data.train_data[i][INSTANCE].x, expected[INSTANCE].x)
            assert data.train_data[i].index.item() == i
        seen.append(pick.tolist())
    assert len({tuple(pick) for pick in seen}) == 4
    assert len(data.test_data.stores) == 1
    assert not torch.equal(plain[0][INSTANCE].x, mirrored[0][INSTANCE].x)


@pytest.mark.slow
def test_a_resumed_run_on_graphs_equals_an_uninterrupted_one(stored, monkeypatch):
    whole = train.run(stored('name=whole', 'trainer.max_epochs=2'))
    config, step = stored('name=cut', 'trainer.max_epochs=2'), train.Recognition.training_step

    def stop(self, batch, batch_idx):
        if self.current_epoch == 1:
            raise KeyError('stop')
        return step(self, batch, batch_idx)

    monkeypatch.setattr(train.Recognition, 'training_step', stop)
    with pytest.raises(KeyError, match='stop'):
        train.run(config)
    monkeypatch.setattr(train.Recognition, 'training_step', step)
    resumed = train.run(config)
    assert whole['metrics'] == resumed['metrics']
    a, b = (np.load(Path(out['folder']) / 'scores.npz') for out in (whole, resumed))
    np.testing.assert_array_equal(a['graph'], b['graph'])


def test_the_files_name_knows_what_changes_the_graphs(stored, monkeypatch):
    data, module = attached(stored())
    model = module.model

    def name(part=data.parts.train, view='resize', size=32, cached=True):
        return graph_store.store_path(
            model, *part, FeatureStores(model.backbone, size).fingerprint(part.source, view), cached
        )

    names = {name(), name(view='resize_flip'), name(size=48), name(cached=False), name(data.parts.test)}
    names |= {name(data.parts.train._replace(rows=data.parts.train.rows[:-1]))}
    with torch.no_grad():
        next(model.backbone.parameters())[0] += 1
    names |= {name()}
    assert len(names) == 7 and name() in names
    monkeypatch.setattr(FeatureStores, 'fingerprint', lambda *about: repr(about[1:]))  # Slow, and has its own tests.
    names = {name()}
    for owner, option, value in (
        (model.csac, 'gamma', 0.3),
        (model.csac, 'pooling', 'sum'),
        (model.csac, 'max_instances', 2),
        (model.csac, 'box_threshold', 0.4),
        (model.csac, 'score_pooling', 'lse'),
        (model.csac, 'csac_input', 'whole'),
        (model.ilms.assign, 'k', 1),
    ):
        old = getattr(owner, option)
        setattr(owner, option, value)
        assert name() not in names, f'{option} changes the graphs'
        names.add(name())
        setattr(owner, option, old)
    for weight in (model.csac.reduce.bias, model.csac.classifier.weight):
        with torch.no_grad():
            weight[0] += 1
        assert name() not in names
        names.add(name())
    with torch.no_grad():
        next(model.ilms.decoder.parameters()).add_(1)  # Learns from the graphs and makes none.
    assert name() in names


@pytest.mark.slow
def test_a_store_that_is_not_finished_is_not_there(stored, tmp_path, monkeypatch):
    config = stored('features.cache=false', 'features.flip=false', f'features.dir={tmp_path}')
    make = graph_store.make
    calls = []

    def stop(*args, **kwargs):
        calls.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(graph_store, 'make', stop)
    with pytest.raises(KeyboardInterrupt):
        attached(config)
    assert calls and not list(tmp_path.glob('graphs-*')) and not list(tmp_path.glob('*.tmp'))
    monkeypatch.setattr(graph_store, 'make', make)
    attached(config)
    assert len(list(tmp_path.glob('graphs-*.pt'))) == 2
    monkeypatch.setattr(graph_store, 'make', stop)
    attached(config)  # Read, not made again.


@pytest.mark.slow
def test_an_image_that_could_not_be_read_is_tried_again(tiny, frozen, photos, tmp_path, monkeypatch):
    skip = (*frozen, *photos, 'data.on_error=skip')
    csac = Path(train.run(tiny(*skip, 'trainer.max_epochs=1'))['folder']) / 'last.ckpt'
    options = (*skip, 'graphs.store=true', f'graphs.csac={csac}')
    data, _ = attached(tiny(*options))
    assert (data.skipped(), len(data.train_data)) == ({('train', 5), ('test', 3)}, 20)
    with monkeypatch.context() as patch:
        patch.setattr(graph_store, 'make', lambda *args, **kwargs: pytest.fail('they are there'))
        attached(tiny(*options))
    with pytest.raises(ImageError, match='5.png'):  # What was left out is an error where it is not to be skipped.
        attached(tiny(*options, 'data.on_error=raise'))
    images = tmp_path / 'photos' / 'images'
    (images / '5.png').write_bytes((images / '6.png').read_bytes())
    data, _ = attached(tiny(*options))
    assert (data.skipped(), len(data.train_data)) == ({('test', 3)}, 21)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model.gamma=0.3', r"'model.gamma' must be as in 'graphs.csac', which makes the graphs: 0.04 in .* \(got 0.3"),
        ('model.pooling=sum', r"'model.pooling' must be as in 'graphs.csac'.*: mean in .* \(got sum\)"),
        ('model.feature_channels=8', r"'model.feature_channels' must be as in 'graphs.csac'.*: 16 in .* \(got 8\)"),
        ('graphs.csac=nowhere.ckpt', r"'graphs.csac': there is no checkpoint 'nowhere.ckpt'"),
        ('graphs.csac=README.md', r"'graphs.csac': README.md is not a readable checkpoint"),
        ('model.name=baseline', r"'graphs.store' stores the graphs of ml_sgm: it is not for model.name=baseline"),
    ],
)
def test_errors(stored, option, message, monkeypatch):
    monkeypatch.chdir(Path(__file__).resolve().parents[3])
    with pytest.raises(ConfigError, match=message):
        config = stored(option)
        train.Recognition(config, Parts.read(config).class_names, torch.ones(3, 10))


def test_errors_of_labels_and_words(stored, tmp_path):
    config = stored()
    names = Parts.read(config).class_names
    other = [*names[:-1], 'ten']
    with pytest.raises(ConfigError, match=r"this data set's 10 labels in their order \(.* has 10, 'nine' for 'ten'\)"):
        train.Recognition(config, other, torch.ones(3, 10))
    with pytest.raises(ConfigError, match=r"labels in their order \(.* has 10, 'other labels' for '9'\)"):
        train.Recognition(config, names[:-1], torch.ones(3, 9))
    np.savez(tmp_path / 'words.npz', names=np.array(names), vectors=np.eye(10, dtype=np.float32)[::-1])
    with pytest.raises(ConfigError, match=r"must give the word vectors of 'graphs.csac': \[10, 10\] from onehot in"):
        train.Recognition(stored(f'semantics.source={tmp_path}/words.npz'), names, torch.ones(3, 10))
