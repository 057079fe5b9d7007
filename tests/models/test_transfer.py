"""From base to novel classes: what is carried over exactly, what is new, and what never changes."""

import copy

import pytest
import torch

from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.labels import nearest_classes
from mlsgm_pyg.models import MLSGM, carry_over
from mlsgm_pyg.models.transfer import CARRIED

SMALL = {
    'feature_channels': 12, 'encoder_channels': (16, 8), 'hidden_channels': 16, 'block_channels': (16, 8),
    'decoder_channels': 8, 'gamma': 0.04,
}  # fmt: skip


def make(num_labels, seed=0, words=None, **options):
    """A small model whose backbone has BatchNorm."""
    torch.manual_seed(seed)
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 10, 2, stride=2), torch.nn.BatchNorm2d(10))
    words = torch.randn(num_labels, 5) if words is None else words
    return MLSGM(Backbone('toy', body, 10), words, **{**SMALL, **options})


def test_everything_that_knows_no_labels_is_carried_over_exactly():
    base, model = make(7), make(3, seed=1)
    before = copy.deepcopy(base.state_dict())
    carry_over(model, base)
    ours, theirs = model.state_dict(), base.state_dict()
    carried = [key for key in ours if key.startswith(tuple(CARRIED))]
    assert ours.keys() - set(carried) == {'csac.classifier.weight', 'csac.classifier.bias', 'ilms.word_vectors'}
    assert len(carried) > 30 and all(torch.equal(ours[key], theirs[key]) for key in carried)
    assert all(torch.equal(before[key], theirs[key]) for key in before)  # The base model stays as it is.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert all(torch.equal(before[key], theirs[key]) for key in before)  # Copies, no shared parameters.


def test_a_classifier_starts_from_the_nearest_class_by_word():
    words = torch.eye(5)
    base = make(5, words=words)
    novel = torch.tensor([[0.1, 0.0, 9.0, 0.0, 0.0], [0.0, 0.01, 0.0, 0.0, 0.009], [-5.0, 0.0, 0.0, 0.1, 0.0]])
    model = make(3, seed=1, words=novel)
    nearest = carry_over(model, base, 'nearest')
    assert nearest.tolist() == nearest_classes(novel, words).tolist() == [2, 1, 3]  # By angle, whatever the length.
    for c, b in enumerate([2, 1, 3]):
        assert torch.equal(model.csac.classifier.weight[c], base.csac.classifier.weight[b])
        assert torch.equal(model.csac.classifier.bias[c], base.csac.classifier.bias[b])


def test_a_random_classifier_stays_as_it_was():
    base, model = make(7), make(3, seed=1)
    classifier = model.csac.classifier
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    assert carry_over(model, base, 'random') is None
    assert all(torch.equal(before[key], value) for key, value in classifier.state_dict().items())


def test_the_same_word_gives_the_same_scores():
    """A novel class with a base class's word vector is scored as that class is, where the labels are the same."""
    base = make(4).eval()
    model = make(4, seed=1, words=base.word_vectors.clone())
    carry_over(model, base)
    image = torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(image).graph_logits, base(image).graph_logits)


def test_the_backbone_and_its_statistics_never_change():
    base, model = make(7), make(3, seed=1)
    with torch.no_grad():
        base.train()(torch.rand(4, 3, 8, 8))  # Statistics that are not the initial ones.
    carry_over(model, base)
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    assert before['body.1.num_batches_tracked'] == 1
    model.train()
    assert not model.backbone.training and not any(p.requires_grad for p in model.backbone.parameters())
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    head = copy.deepcopy(model.ilms.decoder.state_dict())
    for _ in range(3):
        optimizer.zero_grad()
        out = model(torch.rand(4, 3, 8, 8))
        (out.graph_logits.square().mean() + out.csac_logits.square().mean()).backward()
        optimizer.step()
    assert all(torch.equal(before[key], value) for key, value in model.backbone.state_dict().items())
    assert any(not torch.equal(head[key], value) for key, value in model.ilms.decoder.state_dict().items())


def test_models_that_differ_in_more_than_their_labels():
    with pytest.raises(ValueError, match=r'the reduction of the base model does not fit: .*size mismatch for weight'):
        carry_over(make(3, feature_channels=8), make(7))
    with pytest.raises(ValueError, match='the encoder of the base model does not fit'):
        carry_over(make(3, words=torch.randn(3, 6)), make(7))
    with pytest.raises(ValueError, match="'classifier' must be one of nearest, random"):
        carry_over(make(3), make(7), 'nearst')
