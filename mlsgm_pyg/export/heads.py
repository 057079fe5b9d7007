"""What follows the backbone, in the padded form that can be exported; what depends on labels alone is computed once."""

from __future__ import annotations

import torch
from torch import Tensor

from mlsgm_pyg.csac import Slots
from mlsgm_pyg.knn import nearest_slots
from mlsgm_pyg.models import MLGCN, MLSGM, Ablation, Output
from mlsgm_pyg.nn import padded, regular
from mlsgm_pyg.nn.label_edges import LabelNeighbors, stored
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, NEAR


class PaddedHead(torch.nn.Module):
    """The head of a model that chooses instances: each image has all slots, those without an instance are masked.

    Args:
        model (torch.nn.Module): An :class:`~mlsgm_pyg.models.MLSGM` or :class:`~mlsgm_pyg.models.Ablation`; the head
            shares its parameters.
        k (int): Nearest neighbours an instance.

    Shapes:
        - **input:** the backbone's feature map :math:`(B, D', h, w)`
        - **output:** see :class:`mlsgm_pyg.export.Exportable`
    """

    def __init__(self, model: MLSGM | Ablation, k: int):
        super().__init__()
        self.reduce, self.csac, self.score, self.k = model.reduce, model.csac, model.score, k

    def forward(self, feature: Tensor) -> dict[str, Tensor]:
        csac = self.csac(feature, self.reduce)
        slots = self.csac.slots(feature, csac, self.reduce)
        match = self.match(slots)
        match = match.masked_fill(~slots.valid[..., None], torch.finfo(match.dtype).min)
        best = match.amax(1)  # Eq. 15.
        logits = Output(best, graph_logits=best, csac_logits=csac.logits).score(self.score)
        found = {'boxes': slots.box, 'labels': slots.label, 'scores': slots.score, 'valid': slots.valid}
        return {**scores(logits), **found, 'best': match.argmax(1)}

    def match(self, slots: Slots) -> Tensor:
        """Eq. 14 for every slot and label, :obj:`[B, S, C]`."""
        raise NotImplementedError

    def near(self, slots: Slots) -> padded.Near:
        centre = slots.box[..., :2] + slots.box[..., 2:] / 2
        return padded.Near.of(nearest_slots(centre, slots.valid, self.k), slots.valid)


class MatchingHead(PaddedHead):
    """The head of :class:`~mlsgm_pyg.models.MLSGM`: encoder, blocks and decoder on padded instances (Eq. 2-15)."""

    def __init__(self, model: MLSGM):
        super().__init__(model, model.assign.k)
        self.encoder, self.blocks, self.decoder = model.encoder, model.blocks, model.decoder
        sources = model.assign.label_sources
        self.register_buffer('sources', all_others(model.num_labels) if sources is None else sources.clone())
        layout, block = self.layout, self.blocks[0]
        words = model.word_vectors
        with torch.no_grad():
            node, share = self.encoder.nodes[LABEL](words)[None], torch.empty(0)
            heard = node.new_zeros(1, model.num_labels, block.hidden_channels)
            if layout.neighbors.width > 0:
                labels = regular.label_values(self.encoder, block, layout, words, keep=True)
                heard = labels.message
                if len(self.blocks) > 1:
                    share = labels.share(slice(0, model.num_labels)).clone()
            told, own = padded.label_terms(block, node, heard)
            word = self.encoder.edge(MATCHES).first.part(1, words)
        for name, value in {'share': share, 'told': told, 'own': own, 'word': word}.items():
            self.register_buffer(name, value)

    @property
    def layout(self) -> padded.Layout:
        return padded.Layout(LabelNeighbors(self.sources.size(0), self.sources))

    def match(self, slots: Slots) -> Tensor:
        near, layout = self.near(slots), self.layout
        first = self.encoder.edge(MATCHES)
        matches = first.finish(first.first.part(0, slots.x)[:, :, None] + self.word)
        instance = self.encoder.nodes[INSTANCE](slots.x)
        edges = padded.encode_near(self.encoder.edge(NEAR), near, slots.box)
        terms, related, share = padded.LabelTerms(self.told, self.own), None, stored(self.share)
        for i, block in enumerate(self.blocks):
            old = instance
            instance = padded.update_instances(block, near, old, edges, matches, terms)
            label = padded.update_labels(block, old, matches, slots.valid, terms)
            matches = padded.update_matches(block, instance, label, matches)
            if i + 1 == len(self.blocks):
                break  # The decoder reads matching edges alone.
            edges = padded.update_near(block, near, instance, edges)
            if layout.neighbors.width > 0:
                share = share if i == 0 else regular.edge_share(block, related)
                related = regular.related_edges(block, layout, label, share)
                related = related if i + 2 == len(self.blocks) else related.kept(layout.neighbors.num_labels)
            following = self.blocks[i + 1]
            terms = padded.label_terms(following, label, padded.heard_labels(following, layout, label, related))
        return self.decoder(matches)


class AblationHead(PaddedHead):
    """The head of :class:`~mlsgm_pyg.models.Ablation`: the instances' graph alone, the labels' vectors as constants."""

    def __init__(self, model: Ablation):
        super().__init__(model, model.k)
        self.instances, self.encoder = getattr(model, 'instances', None), getattr(model, 'encoder', None)
        self.decoder, self.classifier = getattr(model, 'decoder', None), getattr(model, 'classifier', None)
        label = None
        if self.decoder is not None:
            words = model.word_vectors
            with torch.no_grad():
                label = model.labels(words, model.assign.at(words.device)[0], words)
        self.register_buffer('label', label)

    def match(self, slots: Slots) -> Tensor:
        x = slots.x
        if self.instances is not None:
            x = self._related(slots)
        elif self.encoder is not None:
            x = self.encoder(x)
        return self.classifier(x) if self.decoder is None else self.decoder(x[:, :, None], self.label)

    def _related(self, slots: Slots) -> Tensor:
        near, encoder, blocks = self.near(slots), self.instances.encoder, self.instances.blocks
        edges, x = padded.encode_near(encoder.edge(NEAR), near, slots.box), encoder.nodes[INSTANCE](slots.x)
        for i, block in enumerate(blocks):
            x = block.node_mlps[INSTANCE](x, padded.heard_near(block, near, x, edges))
            if i + 1 < len(blocks):
                edges = padded.update_near(block, near, x, edges)
        return x


class ScoreHead(torch.nn.Module):
    """The head of a model that scores images without instances, as it is."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, feature: Tensor) -> dict[str, Tensor]:
        return scores(self.model.head(feature).logits)


class MaxPooledHead(torch.nn.Module):
    """The head of :class:`~mlsgm_pyg.models.MLGCN`, whose classifiers depend on labels alone."""

    def __init__(self, model: MLGCN):
        super().__init__()
        with torch.no_grad():
            self.register_buffer('classifiers', model.classifiers().t().contiguous())

    def forward(self, feature: Tensor) -> dict[str, Tensor]:
        return scores(feature.amax((2, 3)) @ self.classifiers)


def scores(logits: Tensor) -> dict[str, Tensor]:
    return {'logits': logits, 'probabilities': logits.sigmoid()}


def all_others(num_labels: int) -> Tensor:
    """The sources of each label in a complete label graph, :obj:`[C, C - 1]`."""
    every = torch.arange(num_labels)
    return every.expand(num_labels, -1)[every[:, None] != every].view(num_labels, num_labels - 1)
