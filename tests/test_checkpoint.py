import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

import mlsgm_pyg
from mlsgm_pyg import checkpoint, models
from mlsgm_pyg.decisions import fit
from mlsgm_pyg.export import Exportable, describe
from mlsgm_pyg.saved import check_finite, read_saved

OPTIONS = {'name': 'ml_sgm', 'backbone': 'resnet18', 'weights': 'DEFAULT', 'feature_channels': 8, 'gamma': 0.3}
NAMES = ['cat', 'dog', 'traffic light']


@pytest.fixture(scope='module')
def made():
    torch.manual_seed(0)
    words = torch.randn(3, 4)
    model = models.build(num_labels=3, word_vectors=words, **{**OPTIONS, 'weights': 'none'}).eval()
    state = {'model.' + key: value for key, value in model.state_dict().items()}
    about = checkpoint.pack(OPTIONS, NAMES, words, {'seed': 3})
    return {'state_dict': {**state, 'loss.ratio': torch.zeros(3)}, checkpoint.KEY: about}, model


@pytest.fixture
def saved(made, tmp_path):
    content, model = made
    torch.save(content, tmp_path / 'last.ckpt')
    return tmp_path / 'last.ckpt', model


def test_a_checkpoint_explains_itself(saved):
    path, model = saved
    loaded = mlsgm_pyg.load(path)  # 'DEFAULT' weights are not asked for: all weights are in the file.
    assert loaded.class_names == NAMES and loaded.config == {'seed': 3} and not loaded.training
    assert loaded.csac.gamma == 0.3
    image = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(loaded(image).logits, model(image).logits, rtol=0, atol=0)


def test_a_card_is_kept_and_older_checkpoints_have_none(saved):
    path, _ = saved
    assert mlsgm_pyg.load(path).card == {}
    content = torch.load(path, weights_only=True)
    card = {'use': 'tests', 'evaluation': {'mAP': None, 'images': 3}}
    content[checkpoint.KEY] = checkpoint.pack(OPTIONS, NAMES, content[checkpoint.KEY]['word_vectors'], card=card)
    torch.save(content, path)
    assert mlsgm_pyg.load(path).card == card
    del content[checkpoint.KEY]['card']  # As format version 1 was before cards.
    torch.save(content, path)
    loaded = mlsgm_pyg.load(path)
    assert loaded.card == {} and loaded.class_names == NAMES


def test_decisions_are_kept_and_older_checkpoints_have_none(saved):
    path, _ = saved
    content = torch.load(path, weights_only=True)
    rng = np.random.default_rng(0)
    decisions = fit(rng.normal(size=(60, 3)), rng.integers(0, 2, (60, 3)), NAMES)
    content[checkpoint.KEY]['decisions'] = decisions.plain()
    torch.save(content, path)
    model = mlsgm_pyg.load(path)
    assert model.decisions == decisions
    asked = model.with_labels(['Traffic_Light', 'bus'], torch.stack([model.word_vectors[2], torch.randn(4)]))
    assert asked.decisions.thresholds(['Traffic_Light', 'bus']).tolist() == [
        decisions.classes['traffic light'].threshold, decisions.pooled.threshold
    ]  # fmt: skip
    assert describe(model)['decisions'] == decisions.plain()
    image = torch.rand(1, 3, 64, 64)
    out = Exportable(model)(image)
    torch.testing.assert_close(out['probabilities'], (model(image).logits / decisions.temperature).sigmoid())
    del content[checkpoint.KEY]['decisions']
    torch.save(content, path)
    assert mlsgm_pyg.load(path).decisions is None and describe(mlsgm_pyg.load(path))['decisions'] is None
    for wrong, told in (
        ([], 'hold a temperature, and'),
        (decisions.renamed(['cat'], ['cat']).plain(), 'have a threshold'),
    ):
        content[checkpoint.KEY]['decisions'] = wrong
        torch.save(content, path)
        with pytest.raises(ValueError, match=f"last.ckpt is damaged: 'decisions' must {told}"):
            mlsgm_pyg.load(path)


def test_errors_name_the_file(saved, tmp_path):
    path, _ = saved
    for missing in (tmp_path / 'missing.ckpt', 'nowhere/last.ckpt', ''):
        with pytest.raises(FileNotFoundError) as error:
            mlsgm_pyg.load(missing)
        assert str(error.value) == f"there is no checkpoint '{missing}'"
    for wrong in (None, 123):
        with pytest.raises(TypeError) as error:
            mlsgm_pyg.load(wrong)
        assert str(error.value) == f'a checkpoint is named by its path, a str or Path (got {wrong})'
    with pytest.raises(ValueError, match='is not a readable checkpoint .*: .*Is a directory'):
        mlsgm_pyg.load(tmp_path)
    os.mkfifo(tmp_path / 'pipe')  # Not waited for.
    with pytest.raises(FileNotFoundError, match="there is no checkpoint '.*pipe'"):
        mlsgm_pyg.load(tmp_path / 'pipe')
    broken = tmp_path / 'broken.ckpt'
    broken.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match='broken.ckpt is not a readable checkpoint of tensors and plain containers'):
        mlsgm_pyg.load(broken)
    other = tmp_path / 'other.ckpt'
    torch.save({'state_dict': {}}, other)
    with pytest.raises(ValueError, match="other.ckpt is not a checkpoint of mlsgm_pyg: it lacks 'mlsgm_pyg'"):
        mlsgm_pyg.load(other)


def test_versions_and_weights_must_fit(saved):
    path, _ = saved
    content = torch.load(path, weights_only=True)
    content[checkpoint.KEY]['format_version'] = 99
    torch.save(content, path)
    with pytest.raises(ValueError, match='last.ckpt has format version 99; this installation reads 1'):
        mlsgm_pyg.load(path)
    content[checkpoint.KEY]['format_version'] = 1
    del content['state_dict']['model.csac.classifier.bias']
    torch.save(content, path)
    with pytest.raises(ValueError, match=r'last.ckpt does not fit the model that it describes: .*csac.classifier.bias'):
        mlsgm_pyg.load(path)


class Code:
    def __reduce__(self):
        return os.mkdir, ('it was run',)


def test_code_is_never_run(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, _ = saved
    content = torch.load(path, weights_only=True)
    content[checkpoint.KEY]['extra'] = Code()
    torch.save(content, path)
    told = (
        'last.ckpt is not a readable checkpoint of tensors and plain containers: it holds something else, and nothing'
    )
    with pytest.raises(ValueError, match=f'{told} of it was run$'):
        mlsgm_pyg.load(path)
    path.write_bytes(pickle.dumps(Code()))
    with pytest.raises(ValueError, match='it was not written by torch.save, or is not whole$'):
        mlsgm_pyg.load(path)
    assert not (tmp_path / 'it was run').exists()


@pytest.mark.parametrize('damage', [lambda b, at: b[at] ^ 64, lambda b, at: 0])
def test_a_damaged_record_is_named(saved, damage):
    path, _ = saved
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        record = max(file.infolist(), key=lambda record: record.file_size)
    at = record.header_offset + record.file_size // 2
    for i in range(at, at + 4096):
        content[i] = damage(content, i)
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # It takes them as they are.
    with pytest.raises(
        ValueError, match=f"last.ckpt is not .*: its record '{record.filename}' is damaged: the checksum"
    ):
        mlsgm_pyg.load(path)


def test_a_record_marked_as_a_folder_is_named(saved):
    path, _ = saved
    content = bytearray(path.read_bytes())
    at = content.rindex(b'PK\x01\x02')  # The last record of the directory.
    content[at + 38] |= 0x10
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"its record 'last/\S+' is damaged: the checksum or the directory differs$"):
        mlsgm_pyg.load(path)


def test_a_file_without_checksums_is_refused_as_a_checkpoint(saved):
    path, _ = saved
    content = torch.load(path, weights_only=True)
    torch.save(content, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match='the form of torch.save before 1.6, without checksums: save it once more$'):
        mlsgm_pyg.load(path)
    assert read_saved(path, legacy=True)['state_dict'].keys() == content['state_dict'].keys()


@pytest.mark.parametrize('number', [float('nan'), float('-inf')])
@pytest.mark.parametrize('dtype', [torch.float, torch.float8_e5m2])
def test_weights_that_are_not_finite_are_refused(saved, number, dtype):
    path, _ = saved
    content = torch.load(path, weights_only=True)
    bias = content['state_dict']['model.csac.classifier.bias']
    content['state_dict']['model.csac.classifier.bias'] = bias.clone().index_fill_(0, torch.tensor(1), number).to(dtype)
    torch.save(content, path)
    told = "last.ckpt is damaged: 1 of 3 numbers of 'state_dict.model.csac.classifier.bias' are NaN or infinite"
    with pytest.raises(ValueError, match=told):
        mlsgm_pyg.load(path)


def test_large_numbers_are_finite():
    check_finite({'a': [torch.full((4,), 3e38), (torch.full((9,), 6e4).half(),)], 'b': 'c'}, 'x')
    with pytest.raises(ValueError, match="1 of 2 numbers of 'x.a.1' are NaN or infinite"):
        check_finite({'a': [0, torch.tensor([1, float('inf')])]}, 'x')


@pytest.mark.parametrize(
    'part,told',
    [
        ({}, r"'data.image_size' must be from 1 to 16384 pixels \(got None\)"),
        ({'image_size': 0}, r"'data.image_size' must be from 1 to 16384 pixels \(got 0\)"),
        ({'image_size': 64.0}, r"'data.image_size' must be from 1 to 16384 pixels \(got 64.0\)"),
        ({'image_size': 10**7}, r"'data.image_size' must be from 1 to 16384 pixels \(got 10000000\)"),
        ({'image_size': 64, 'test_sizes': [64, -1]}, r"'data.test_sizes' must be from 1 to 16384 pixels \(got -1\)"),
        ({'image_size': 64, 'test_sizes': 'ab'}, r"'data.test_sizes' must be a list of sizes in pixels \(got 'ab'\)"),
        ({'image_size': 64, 'test_view': 'crop'}, r"'data.test_view' must be one of resize, .* \(got 'crop'\)"),
        ({'image_size': 64, 'test_view': ['x']}, r"'data.test_view' must be one of resize, .* \(got \['x'\]\)"),
    ],
)
def test_how_pictures_are_seen_is_checked(saved, part, told):
    path, _ = saved
    content = torch.load(path, weights_only=True)
    content[checkpoint.KEY]['extra'] = {'data': part}
    torch.save(content, path)
    with pytest.raises(ValueError, match=f'last.ckpt is damaged: {told}'):
        mlsgm_pyg.load(path)


@pytest.mark.parametrize(
    'data', [None, {'image_size': 64}, {'image_size': 64, 'test_sizes': [64, 96], 'test_view': 'paper'}]
)
def test_how_pictures_are_seen_need_not_be_said_in_full(saved, data):
    path, _ = saved
    content = torch.load(path, weights_only=True)
    content[checkpoint.KEY]['extra'] = {'data': data}
    torch.save(content, path)
    assert checkpoint.read(path)[checkpoint.KEY]['extra'] == {'data': data}


def test_damaged_checkpoints(saved):
    path, _ = saved
    whole = torch.load(path, weights_only=True)
    about, state = whole[checkpoint.KEY], whole['state_dict']
    bias = state['model.csac.classifier.bias']
    for part, told in [
        (
            {checkpoint.KEY: about | {'class_names': ['a', 'b', 'a']}},
            r"'class_names' must differ \(got several of 'a'\)",
        ),
        (
            {'state_dict': state | {'model.csac.classifier.bias': bias.int()}},
            r"does not fit .*: 'csac.classifier.bias' must hold numbers like torch.float32 \(got torch.int32\)",
        ),
        ({'state_dict': state | {'model.csac.classifier.bias': bias.to('meta')}}, 'must hold tensors by name'),
        ({checkpoint.KEY: 3}, 'last.ckpt has format version None'),
        ({checkpoint.KEY: about | {'class_names': None}}, r"damaged: 'class_names' must be a list \(got NoneType\)"),
        ({checkpoint.KEY: about | {'model': []}}, r"damaged: 'model' must be a dict \(got list\)"),
        ({checkpoint.KEY: about | {'card': None}}, r"damaged: 'card' must be a dict \(got NoneType\)"),
        ({'state_dict': {'x': 'y'}}, "damaged: 'state_dict' must hold tensors by name"),
        (
            {checkpoint.KEY: about | {'word_vectors': None}},
            'last.ckpt describes a model that cannot be built: ',
        ),
        ({checkpoint.KEY: about | {'model': {'x': 1}}}, 'last.ckpt describes a model that cannot be built: '),
    ]:
        torch.save(whole | part, path)
        with pytest.raises(ValueError, match=told):
            mlsgm_pyg.load(path)


def first_name(name):
    """What format 1 called a parameter of today."""
    for new, old in (('csac.reduce.', 'reduce.'), ('ilms.', ''), ('instance_stack.', 'instances.')):
        name = name.removeprefix(new) if not old and name.startswith(new) else name.replace(new, old, 1)
    name = name.replace('label_stack.', 'labels.', 1).replace('edge_updates.', 'edge_convs.')
    if '___rev_' in name:  # <label___rev_matches___instance> was instance__matches__label__rev.
        start, relation, end = name.partition('<')[2].partition('>')[0].split('___')
        return name.replace(f'<{start}___{relation}___{end}>', f'{end}__{relation[4:]}__{start}__rev')
    return name.replace('<', '').replace('>', '').replace('___', '__')


@pytest.mark.parametrize(
    'name, options',
    [
        ('ml_sgm', {'prune_last': False, 'backend': 'segment_csr'}),
        ('wo_csac', {}),
        ('ablation', {'parts': ['csac', 'instance_graph', 'label_graph']}),
        ('ablation', {'parts': ['label_graph']}),
        ('ssgrl', {'feature_channels': 8}),
        ('add_gcn', {}),
    ],
)
def test_checkpoints_of_format_1(name, options, tmp_path):
    torch.manual_seed(0)
    words, options = torch.randn(3, 4), {'name': name, 'backbone': 'resnet18', 'weights': 'none', **options}
    new = {**options, 'backend': 'auto'} if 'backend' in options else options
    model = models.build(num_labels=3, word_vectors=words, co_occurrence=torch.rand(3, 3), **new).eval()
    state = {'model.' + first_name(key): value for key, value in model.state_dict().items()}
    if name == 'ml_sgm':
        assert {'model.reduce.bias', 'model.encoder.edges.label__related__label.first.weight', 'model.word_vectors',
                'model.blocks.0.node_convs.instance__matches__label__rev.rho.weight',
                'model.blocks.1.edge_convs.instance__near__instance.phi.first.bias'} <= state.keys()  # fmt: skip
    about = checkpoint.pack(options, NAMES, words if 'word_vectors' in models.arguments(name) else None)
    path = tmp_path / 'last.ckpt'
    torch.save({'state_dict': state, checkpoint.KEY: {**about, 'format_version': 1}}, path)
    image = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(mlsgm_pyg.load(path)(image).logits, model(image).logits, rtol=0, atol=0)
