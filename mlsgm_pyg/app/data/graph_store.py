"""With CSAC fixed, every image's assignment graph is made once: a PyG data set from which the rest learns to match.

A store is one file of single-image graphs under one view, made by a trained checkpoint's backbone and CSAC in
evaluation mode. Its name is a hash of everything that changes the graphs. What is the same in every image (label nodes,
label edges, matching edges) is not stored but joined when a graph is read.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import HeteroData, InMemoryDataset
from torch_geometric.transforms import BaseTransform

from mlsgm_pyg import checkpoint
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import replacing
from mlsgm_pyg.app.data import feature_store
from mlsgm_pyg.assignment import AssignmentGraph, evidence_of
from mlsgm_pyg.csac import Instances
from mlsgm_pyg.datasets import LabelledImages
from mlsgm_pyg.models import MLSGM, Output
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, RELATED

FORMAT_VERSION = 2
FIXED = ('backbone', 'csac')  # The parts of the model that make the graphs.
FIXED_OPTIONS = (
    'backbone', 'last_stride', 'feature_channels', 'gamma', 'max_instances', 'pooling', 'score_pooling', 'csac_input',
    'box_threshold', 'maps', 'evidence',
)  # fmt: skip
SHARED = (LABEL, RELATED, MATCHES)  # The same in all images with equally many instances.


def adopt(model: MLSGM, options: dict[str, Any], class_names: Sequence[str], path: str | Path) -> None:
    """Gives a model, built with these options, the backbone and CSAC of a checkpoint, fixed for good; the rest of it
    stays new. The checkpoint must be this model's: labels, word vectors, options, weights."""
    try:
        found = checkpoint.read(path)
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(f"'graphs.csac': there is no checkpoint '{path}'") from None
    except ValueError as error:
        raise ConfigError(f"'graphs.csac': {error}") from None
    about = found[checkpoint.KEY]
    _check(about, model, options, list(class_names), path)
    for name in FIXED:
        part, prefix = getattr(model, name), f'{checkpoint.PREFIX}{name}.'
        state = {key.removeprefix(prefix): v for key, v in found['state_dict'].items() if key.startswith(prefix)}
        try:
            checkpoint.fill(part, state)
        except ValueError as error:
            raise ConfigError(f"'graphs.csac': the {name} of '{path}' does not fit: {error}") from None
        part.requires_grad_(False)
    model.backbone.freeze()


def _check(about: dict[str, Any], model: MLSGM, options: dict[str, Any], names: list[str], path: str | Path) -> None:
    theirs = about['model']
    if (name := theirs.get('name')) != options['name']:
        raise ConfigError(f"'graphs.csac' must be an {options['name']} checkpoint ('{path}' is a {name})")
    if about['class_names'] != names:
        here, there = next(
            (pair for pair in zip(names, about['class_names']) if pair[0] != pair[1]), (len(names), 'other labels')
        )
        raise ConfigError(
            f"'graphs.csac' must have this data set's {len(names)} labels in their order "
            f"('{path}' has {len(about['class_names'])}, '{there}' for '{here}')"
        )
    for key in FIXED_OPTIONS:
        if key in theirs and theirs[key] != options[key]:
            raise ConfigError(
                f"'model.{key}' must be as in 'graphs.csac', which makes the graphs: {theirs[key]} in '{path}' "
                f'(got {options[key]})'
            )
    words = about['word_vectors']
    if words.shape != model.word_vectors.shape or not torch.equal(words.float(), model.word_vectors.cpu()):
        source = about['extra'].get('semantics', {}).get('source', 'another source')
        raise ConfigError(
            f"'semantics.source' must give the word vectors of 'graphs.csac': {list(words.shape)} from {source} in "
            f"'{path}' (got {list(model.word_vectors.shape)})"
        )


def store_path(
    model: MLSGM,
    source: LabelledImages,
    rows: Sequence[int],
    maps: str,
    cached: bool,
    folder: str = '',
) -> Path:
    """The file of some images' graphs; its name is a hash of the images, the fingerprint of their maps (which are
    float16 where they are cached), and what makes the graphs."""
    csac = model.csac
    about = ('gamma', 'max_instances', 'pooling', 'score_pooling', 'box_threshold', 'csac_input', 'maps', 'evidence')
    options = (*(getattr(csac, name) for name in about), model.ilms.assign.k)
    digest = hashlib.sha256(repr((FORMAT_VERSION, options, cached, list(rows))).encode())
    digest.update(maps.encode())
    digest.update(source.y[torch.tensor(list(rows), dtype=torch.long)].numpy().tobytes())
    for content in feature_store.weights(model.csac):
        digest.update(content)
    return feature_store.cache_dir(folder) / f'graphs-{digest.hexdigest()[:20]}.pt'


def write(path: Path, model: MLSGM, batches: Iterable[dict[str, Tensor]]) -> int:
    """Makes the graphs of some images, given as batches of :func:`make`, and writes them, whole or not at all; returns
    how many."""
    graphs = [graph.cpu() for batch in batches for graph in make(model, **batch)]
    if not graphs:
        raise ConfigError(f"'graphs.store': not one of the images of '{path}' can be read")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, several=True) as spare:
        InMemoryDataset.save(graphs, spare)
    return len(graphs)


def left_out(path: Path, total: int) -> list[int]:
    """Which of so many images have no graph in a file: those that could not be read when it was written."""
    store = InMemoryDataset(None)
    store.load(str(path))
    return sorted(set(range(total)) - set(store._data.index.tolist()))


@torch.no_grad()
def make(model: MLSGM, feature: Tensor, y: Tensor, index: Tensor) -> list[HeteroData]:
    """The graphs of some backbone maps without what all images share; CSAC's scores and the numbers lie in them."""
    feature = feature.to(model.word_vectors.dtype)
    csac = model.csac(feature)
    graphs = model.ilms.assign.batch(model.csac.select(feature, csac), y.to(feature.device)).to_data_list()
    for graph, logits, number in zip(graphs, csac.logits.split(1), index.split(1)):
        for key in SHARED:
            del graph[key]
        graph.csac_logits, graph.index = logits, number
    return graphs


class JoinLabels(BaseTransform):
    """Joins label nodes, label edges and matching edges, built once for each number of instances, to those of one
    image."""

    def __init__(self, assign: AssignmentGraph):
        self.assign = assign
        self.known: dict[int, HeteroData] = {}

    def forward(self, data: HeteroData) -> HeteroData:
        size = data[INSTANCE].num_nodes
        if size not in self.known:
            like = HeteroData({INSTANCE: {'x': torch.zeros(size, 1), 'box': torch.zeros(size, 4)}})
            self.known[size] = self.assign(like)
        for key in SHARED:
            data[key].update(copy.copy(self.known[size][key]))
        if 'evidence' in data[INSTANCE]:
            evidence = evidence_of(data[INSTANCE].evidence, self.assign.num_labels)
            data[MATCHES].edge_attr = evidence.reshape(-1, 1)
        return data


class GraphDataset(InMemoryDataset):
    """The graphs of a file, each whole with what all images share."""

    def __init__(self, path: Path, assign: AssignmentGraph):
        super().__init__(None, transform=JoinLabels(assign))
        self.load(str(path))


class EpochGraphs(Dataset):
    """Some images' graphs, plain and, where training mirrors, mirrored: which one depends on (seed, epoch, image) only.
    Of all images, those that could not be read are left out."""

    def __init__(self, stores: Sequence[GraphDataset], total: int, seed: int = 0):
        self.stores = list(stores)
        self.seed = seed
        self.total = total
        self.index = self.stores[0]._data.index.tolist()
        if any(store._data.index.tolist() != self.index for store in self.stores):
            raise ValueError('the plain and the mirrored graphs must be of the same images')
        self.skipped = sorted(set(range(total)) - set(self.index))
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        self.pick = np.random.default_rng([self.seed, epoch, 4]).integers(len(self.stores), size=self.total)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> HeteroData:
        return self.stores[self.pick[self.index[i]]][i]


def match(model: MLSGM, batch: HeteroData) -> Output:
    """The output of a model for stored graphs, equal to that of :meth:`~mlsgm_pyg.models.MLSGM.head` for the images."""
    instance = batch[INSTANCE]
    found = Instances(*(instance[name] for name in ('x', 'box', 'label', 'score', 'batch', 'ptr')))
    out = model.match(batch, regular=True)
    out = out._replace(csac_logits=batch.csac_logits, instances=found, blend=getattr(model, 'blend', None))
    return out._replace(logits=out.score(model.score))
