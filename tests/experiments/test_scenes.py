from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import scenes
from experiments.results.run import Run
from mlsgm_pyg import models, tagger


@pytest.fixture
def run(trained):
    return Run.read(Path(trained['folder']))


def test_scenes_are_what_predict_says(run):
    part = run.images
    model = run.model
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
    part = run.images
    images = [part.source.image(row) for row in part.rows]
    for row, scene in enumerate(scenes.look(run.model, images)):
        np.testing.assert_allclose(scene.p, run.p[row], atol=2e-3)  # The maps were kept in half precision.


def test_neighbours_are_the_graphs(run):
    model = run.model
    part = run.images
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
