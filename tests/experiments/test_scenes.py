import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mlsgm_pyg
from experiments import reported, scenes
from mlsgm_pyg import models, tagger


@pytest.fixture
def run(trained):
    return reported.load(Path(trained['folder']))


def test_scenes_are_what_predict_says(run):
    part = scenes.test_part(run)
    model = scenes.load_model(run)
    images = [part.source.image(row) for row in part.rows]
    found = list(scenes.look(model, images, batch_size=5))
    told = model.predict(images, upright=True, maps=True)
    assert len(found) == len(told) == 13
    for scene, prediction, image in zip(found, told, images):
        names = [run.class_names[c] for c in np.argsort(-scene.p, kind='stable')]
        assert names == prediction.labels
        np.testing.assert_allclose(np.sort(scene.p)[::-1], prediction.probabilities, rtol=1e-5)
        assert [node.score for node in scene.nodes] == pytest.approx([one.score for one in prediction.instances])
        for node, one in zip(scene.nodes, prediction.instances):
            assert (None if node.label is None else run.class_names[node.label]) == one.label
            np.testing.assert_allclose(np.multiply(node.box, image.size * 2), one.box, rtol=1e-6)
        best = scene.match.argmax(0)
        assert [int(best[run.class_names.index(name)]) for name in prediction.labels] == prediction.best
        for label, values in scene.maps.items():
            whole = prediction.maps[prediction.labels.index(run.class_names[label])]
            np.testing.assert_allclose(values, (255 * whole / whole.max()).numpy(), atol=0.51)


def test_scenes_have_the_scores_of_the_evaluation(run):
    part = scenes.test_part(run)
    images = [part.source.image(row) for row in part.rows]
    for row, scene in enumerate(scenes.look(scenes.load_model(run), images)):
        np.testing.assert_allclose(scene.p, run.p[row], atol=2e-3)  # The maps were kept in half precision.


def test_neighbours_are_the_graphs(run):
    model = scenes.load_model(run)
    part = scenes.test_part(run)
    images = [part.source.image(row) for row in part.rows[:4]]
    view = tagger.view_of(model)
    with torch.no_grad():
        graph = model.graphs(model.features(torch.stack([view(image)[0] for image in images])))
    for data, scene in zip(graph.to_data_list(), scenes.look(model, images)):
        assert scene.near == [tuple(edge) for edge in data['instance', 'near', 'instance'].edge_index.t().tolist()]
        assert scene.near


WORDS = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
NARROW = {'feature_channels': 8, 'hidden_channels': 8, 'encoder_channels': [8], 'block_channels': [8, 8]}
NARROW |= {'decoder_channels': 8}
OTHERS = {
    'baseline': ({}, 0, True, False),
    'mlp': ({}, 0, True, False),
    'ml_gcn': ({'hidden_channels': 8}, 0, True, False),
    'add_gcn': ({}, 0, True, False),
    'wo_csac': ({**NARROW, 'grid': 2}, 5, False, True),
    'ablation-csac': ({**NARROW, 'parts': ['csac'], 'gamma': 0.0, 'max_instances': 3}, 4, True, False),
    'ablation-instance_graph': ({**NARROW, 'parts': ['instance_graph'], 'grid': 2}, 5, False, True),
}


@pytest.mark.parametrize('name', OTHERS)
def test_every_model_is_looked_at_with_what_it_has(name):
    options, instances, has_maps, has_near = OTHERS[name]
    model = models.build(
        name.partition('-')[0],
        num_labels=4,
        word_vectors=WORDS,
        co_occurrence=torch.full((4, 4), 0.3),
        backbone='resnet18',
        weights='none',
        **options,
    ).eval()
    model.config = {'data': {'image_size': 64}}
    images = [Image.new('RGB', (40, 30), colour) for colour in ('teal', 'red', 'navy')]
    for scene in scenes.look(model, images):
        assert scene.p.shape == (4,) and len(scene.nodes) == instances
        assert bool(scene.maps) == has_maps and bool(scene.near) == has_near
        assert (scene.match is None) == (instances == 0)


def changed(run, tmp_path, **options):
    """The run with other data options."""
    out = json.loads(json.dumps(run.out))
    out['config']['data'] |= options
    return reported.Reported(out, run.folder, run.scores)


def test_images_that_are_gone_or_others_are_named(run, tmp_path):
    with pytest.raises(scenes.Gone, match=r'the images cannot be read: .*nowhere'):
        scenes.test_part(changed(run, tmp_path, name='csv', root=str(tmp_path / 'nowhere')))
    with pytest.raises(scenes.Gone, match='changed since: it has 5 images to test on, and had at least 13'):
        scenes.test_part(changed(run, tmp_path, test_images=5))
    run.scores = run.scores | {'y': 1 - run.y}
    with pytest.raises(scenes.Gone, match='its labels are others'):
        scenes.test_part(run)


def test_other_classes_are_named(run, tmp_path):
    def told(names):
        out = json.loads(json.dumps(run.out))
        out['metrics']['AP'] = dict.fromkeys(names, 50.0)
        with pytest.raises(scenes.Gone) as error:
            scenes.test_part(reported.Reported(out, run.folder, run.scores))
        return str(error.value).removeprefix('the data set has changed since: ')

    first, second, *rest = run.class_names
    assert told([first, 'eule', *rest]) == f"it has other classes (new: '{second}'; gone: 'eule')"
    assert told([second, first, *rest]) == 'its classes are in another order'
    assert told([first, *rest]) == f"it has other classes (new: '{second}')"


def test_a_checkpoint_that_is_gone_or_broken_is_named(run, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(run.folder, folder)
    run.folder = folder
    (folder / 'last.ckpt').write_bytes(b'broken')
    with pytest.raises(scenes.Gone, match=r'the model cannot be loaded: .*last.ckpt is not a readable checkpoint'):
        scenes.load_model(run)
    (folder / 'last.ckpt').unlink()
    with pytest.raises(scenes.Gone, match=r"there is no '.*last.ckpt' any more"):
        scenes.load_model(run)
    run.out = run.out | {'select': 'best'}  # Its scores are those of the best epoch.
    assert scenes.load_model(run).class_names == mlsgm_pyg.load(folder / 'best.ckpt').class_names


def test_jpeg_keeps_to_its_size():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 600, 3), dtype=np.uint8))
    content, size = scenes.jpeg(noise, 288, 20_000)
    assert size == (288, 144) and len(content) <= 20_000
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == size and image.format == 'JPEG'
    assert scenes.jpeg(noise, 900, 10**9)[1] == (600, 300)  # Never larger than it is.
    assert scenes.jpeg(Image.new('RGB', (1000, 1)), 100, 1000)[1] == (100, 1)
