"""What follows the backbone, in the padded form that can be exported; what depends on labels alone is computed once."""

from __future__ import annotations

import torch
from torch import Tensor

from mlsgm_pyg.assignment import all_others
from mlsgm_pyg.csac import Slots
from mlsgm_pyg.knn import nearest_slots
from mlsgm_pyg.models import MLGCN, MLSGM, Ablation, Output
from mlsgm_pyg.nn import fast
from mlsgm_pyg.nn.label_edges import stored
from mlsgm_pyg.nn.layouts import Padded
from mlsgm_pyg.schema import INSTANCE, NEAR


class SlotsHead(torch.nn.Module):
    """The head of a model that chooses instances: each image has all slots, those without an instance are masked.

    Args:
        model (torch.nn.Module): An :class:`~mlsgm_pyg.models.MLSGM` or :class:`~mlsgm_pyg.models.Ablation`; the head
            shares its parameters.

    Shapes:
        - **input:** the backbone's feature map :math:`(B, D', h, w)`
        - **output:** see :class:`mlsgm_pyg.export.Exportable`, but for :obj:`probabilities`
    """

    def __init__(self, model: MLSGM | Ablation):
        super().__init__()
        self.csac, self.score = model.csac, model.score
        self.register_buffer('blend', getattr(model, 'blend', None))

    def forward(self, feature: Tensor) -> dict[str, Tensor]:
        csac = self.csac(feature)
        slots = self.csac.slots(feature, csac)
        match = self.match(slots)
        best = match.amax(1)  # Eq. 15.
        out = Output(best, graph_logits=best, csac_logits=self.csac_logits(csac.logits), blend=self.blend)
        logits = out.score(self.score)
        found = {'boxes': slots.box, 'labels': slots.label, 'scores': slots.score, 'valid': slots.valid}
        return {'logits': logits, **found, 'best': match.argmax(1)}

    def csac_logits(self, logits: Tensor | None) -> Tensor | None:
        return logits

    def match(self, slots: Slots) -> Tensor:
        """Eq. 14 for every slot and label, :obj:`[B, S, C]`, least in empty slots."""
        raise NotImplementedError


class MatchingHead(SlotsHead):
    """The head of :class:`~mlsgm_pyg.models.MLSGM`: encoder, blocks and decoder on padded instances (Eq. 2-15)."""

    def __init__(self, model: MLSGM):
        super().__init__(model)
        self.ilms = model.ilms
        if self.ilms.sources is None:  # A table of all others: views on their values cannot be exported.
            self.ilms.sources = all_others(self.ilms.num_labels)
        with torch.no_grad():
            values = self.ilms.label_values(keep=True)
        words = {f'word{i}': share for i, share in enumerate(values.word)}
        self.num_words = len(words)
        constants = {'node': values.node, **words, **values.terms._asdict()}
        for name, value in constants.items():
            self.register_buffer(name, value)
        needed = {'related': values.related if self.ilms.blocks[0].residual else None, 'share': values.share}
        for name, edges in needed.items():
            self.register_buffer(name, None if edges is None else edges(slice(0, self.ilms.num_labels)).clone())

    def csac_logits(self, logits: Tensor | None) -> Tensor | None:
        return self.ilms.of_asked(logits)

    def match(self, slots: Slots) -> Tensor:
        share = None if self.share is None else stored(self.share)
        related = None if self.related is None else stored(self.related)
        word = tuple(getattr(self, f'word{i}') for i in range(self.num_words))
        values = fast.LabelValues(self.node, word, related, share, fast.LabelTerms(self.told, self.own))
        return self.ilms.padded(slots, values).match_logits


class AblationHead(SlotsHead):
    """The head of :class:`~mlsgm_pyg.models.Ablation`: the instances' graph alone, the labels' vectors as constants."""

    def __init__(self, model: Ablation):
        super().__init__(model)
        self.stack, self.encoder = getattr(model, 'instance_stack', None), getattr(model, 'encoder', None)
        self.decoder, self.classifier = getattr(model, 'decoder', None), getattr(model, 'classifier', None)
        self.k = model.k
        with torch.no_grad():
            self.register_buffer('label', model.label_values())

    def match(self, slots: Slots) -> Tensor:
        layout = Padded(nearest_slots(slots.centre, slots.valid, self.k), slots.valid)
        x = slots.x
        if self.stack is not None:
            x = self._related(layout, x, slots.box.to(x.dtype))
        elif self.encoder is not None:
            x = self.encoder(x)
        return layout.masked(self.classifier(x) if self.label is None else self.decoder(x[:, :, None], self.label))

    def _related(self, layout: Padded, x: Tensor, box: Tensor) -> Tensor:
        encoder, blocks = self.stack.encoder, self.stack.blocks
        edges, x = layout.encode_near(encoder, (box, box)), encoder.nodes[INSTANCE](x)
        for i, block in enumerate(blocks):
            x = block.node_mlps[INSTANCE](x, layout.hear(block.node_conv(NEAR), x, edges))
            if i + 1 < len(blocks):
                edges = layout.renew(block.edge_updates[NEAR], x, edges)
        return x


class ScoreHead(torch.nn.Module):
    """The head of a model that scores images without instances, as it is."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, feature: Tensor) -> dict[str, Tensor]:
        return {'logits': self.model.head(feature).logits}


class MaxPooledHead(torch.nn.Module):
    """The head of :class:`~mlsgm_pyg.models.MLGCN`, whose classifiers depend on labels alone."""

    def __init__(self, model: MLGCN):
        super().__init__()
        with torch.no_grad():
            self.register_buffer('classifiers', model.classifiers().t().contiguous())

    def forward(self, feature: Tensor) -> dict[str, Tensor]:
        return {'logits': feature.amax((2, 3)) @ self.classifiers}
