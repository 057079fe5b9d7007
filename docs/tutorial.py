"""A folder of photographs, ML-SGM layer by layer, some training, predictions with boxes, a checkpoint.

python docs/tutorial.py    in a clone or anywhere with mlsgm_pyg: one core, some seconds, no download
"""

# %% A folder of photographs
import csv
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

import mlsgm_pyg
from mlsgm_pyg import AssignmentGraph, build_backbone, build_loss, checkpoint, models, word_vectors
from mlsgm_pyg.csac import CSAC
from mlsgm_pyg.datasets import CsvDataset, ImageDataset, build_view, collate
from mlsgm_pyg.metrics import MultiLabelMetrics
from mlsgm_pyg.nn import Decoder, GraphEncoder, GraphNetworkBlock
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, METADATA, NEAR, RELATED
from mlsgm_pyg.statistics import label_ratio

torch.manual_seed(0)
random = np.random.default_rng(0)
root = Path(tempfile.mkdtemp(prefix='tutorial-'))
(root / 'images').mkdir()


def photograph(sun: bool, tree: bool, sea: bool) -> Image.Image:
    """A landscape of 160 x 120 pixels."""
    picture = Image.new('RGB', (160, 120), tuple(random.integers(150, 200, 3)))
    draw = ImageDraw.Draw(picture)
    x, y = random.integers(20, 120), random.integers(5, 30)
    if sun:
        draw.ellipse([x, y, x + 30, y + 30], fill=(250, 220, 40))
    if sea:
        draw.rectangle([0, 85, 160, 120], fill=(30, 80, 170))
    if tree:
        left = random.integers(5, 120)
        draw.polygon([(left, 80), (left + 30, 80), (left + 15, 35)], fill=(20, 120, 40))
    return picture


rows = []
for number in range(40):
    there = random.random(3) < 0.5
    photograph(*there).save(root / 'images' / f'{number}.png')
    rows.append([f'{number}.png', 'train' if number < 32 else 'val', *there.astype(int)])
with (root / 'labels.csv').open('w', newline='') as file:
    csv.writer(file).writerows([['file', 'split', 'sun', 'tree', 'sea'], *rows])

# %% The data set
train, val = CsvDataset(root, 'train'), CsvDataset(root, 'val')
names = train.class_names  # C = 3 labels.
words = word_vectors(names, 'onehot')  # [C, F]; 'kumo', an .npz or a GloVe file know what words mean.
view = build_view('resize', 64)
loader = torch.utils.data.DataLoader(
    ImageDataset(train, view), batch_size=8, shuffle=True, collate_fn=collate, drop_last=True
)
batch = next(iter(loader))
print(batch['image'].shape, batch['y'].tolist())

# %% Feature map, class maps, instances
backbone = build_backbone('resnet18', weights='none', last_stride=1)  # 'DEFAULT' has ImageNet's weights.
csac = CSAC(backbone.out_channels, len(names), out_channels=None, gamma=0.05, max_instances=2)
feature = backbone(batch['image'])  # [B, D, h, w]
found = csac(feature)  # One map and one score a class.
instances = csac.select(feature, found)  # x^0 and the classes whose score exceeds gamma.
print(found.maps.shape, found.logits.shape, 'instances of each image:', instances.sizes)
print('class', instances.label[:3].tolist(), 'box', instances.box[:3].tolist())

# %% The assignment graph
assign = AssignmentGraph(len(names), k=3, word_vectors=words)
graph = assign.batch(instances, batch['y'])  # A HeteroData of all images.
print(graph)

# %% Encoder, blocks, decoder
size, length = backbone.out_channels, words.size(1)
encoder = GraphEncoder(
    {INSTANCE: size, LABEL: length},
    {NEAR: (4, 4), RELATED: (length, length), MATCHES: (size, length)},  # Both halves of Eq. 2-4.
    channels=(32, 32),
)
block = GraphNetworkBlock(METADATA, 32, 32, reverse=[MATCHES])
decoder = Decoder(32, hidden_channels=16)

edge_index = {kind: graph[kind].edge_index for kind in METADATA[1]}
box, label = graph[INSTANCE].box, graph[LABEL].x
halves = {NEAR: (box, box), RELATED: (label, label), MATCHES: (graph[INSTANCE].x, label)}
x, edge_attr = encoder(graph.x_dict, edge_index, halves)
for _ in range(2):
    x, edge_attr = block(x, edge_index, edge_attr)
match = decoder(edge_attr[MATCHES])  # A logit for every instance with every label of its image (Eq. 14).
image_and_label = edge_index[MATCHES][1]  # Label nodes are numbered image by image.
logits = torch.full((len(label),), -torch.inf).scatter_reduce(0, image_and_label, match, 'amax')  # Eq. 15.
print('logits', logits.view(-1, len(names)).shape)

# %% All of it as one model
options = {
    'name': 'ml_sgm',
    'backbone': 'resnet18',
    'weights': 'none',
    'last_stride': 1,
    'feature_channels': 64,
    'gamma': 0.3,
    'encoder_channels': [32, 32],
    'hidden_channels': 32,
    'block_channels': [32, 32],
    'decoder_channels': 16,
}
model = models.build(num_labels=len(names), word_vectors=words, **options)

# %% Training
loss_of = build_loss('weighted_bce', label_ratio(train.y), beta=0.0)  # Eq. 16.
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
losses = []
for _ in range(8):
    for batch in loader:
        out = model(batch['image'])
        loss = loss_of(out.graph_logits, batch['y']) + loss_of(out.csac_logits, batch['y'])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
print(f'loss {losses[0]:.2f} -> {losses[-1]:.2f}')

# %% Evaluation
model.eval()
metrics = MultiLabelMetrics(names)
with torch.no_grad(), model.fixed_labels():  # What depends on labels alone is computed once.
    for batch in torch.utils.data.DataLoader(ImageDataset(val, view), batch_size=8, collate_fn=collate):
        metrics.update(model(batch['image']).logits, batch['y'], batch['index'])
values = metrics.compute()
print(f'mAP {values["mAP"]:.1f} on {len(val)} photographs')

# %% A checkpoint
card = {'use': 'A tutorial.', 'trained_on': f'{len(train)} drawn landscapes', 'mAP': values['mAP']}
config = {'data': {'image_size': 64}}  # How predict looks at pictures.
torch.save(
    {
        'state_dict': {checkpoint.PREFIX + key: value for key, value in model.state_dict().items()},
        checkpoint.KEY: checkpoint.pack(options, names, words, config, card),
    },
    root / 'model.ckpt',
)
loaded = mlsgm_pyg.load(root / 'model.ckpt')  # weights_only=True: no code in a checkpoint is ever run.
print(loaded.class_names, loaded.card)

# %% Prediction, with boxes
predictions = loaded.predict(val.paths[:3], top_k=2, threshold=0.0)
for path, prediction in zip(val.paths, predictions):
    for name, probability, place in zip(prediction.labels, prediction.probabilities, prediction.boxes):
        print(f'{path.name}: {name} {probability:.2f} at {[round(number) for number in place]}')
