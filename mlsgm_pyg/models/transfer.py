"""Few-shot, stage two: a model over novel classes that starts from one of base classes (paper, Section III-E c)."""

import torch
from torch import Tensor

from mlsgm_pyg.labels import nearest_classes
from mlsgm_pyg.models.ml_sgm import MLSGM
from mlsgm_pyg.models.output import BLEND
from mlsgm_pyg.names import check_choice

#: What does not depend on the labels, and what a message calls it.
CARRIED = {
    'backbone': 'backbone',
    'csac.reduce': 'reduction',
    'ilms.encoder': 'encoder',
    'ilms.blocks': 'blocks',
    'ilms.decoder': 'decoder',
    'ilms.deep': 'deep scores',
}
CLASSIFIERS = ('nearest', 'random')


@torch.no_grad()
def carry_over(model: MLSGM, base: MLSGM, classifier: str = 'nearest') -> Tensor | None:
    """Gives a model of novel classes all that a model of base classes learned, and fixes its backbone for good.

    The backbone, the reducing convolution, the encoders, the graph network blocks and the decoder are carried over as
    they are: none of them knows how many labels there are. CSAC's classifier is new, one row a novel class.

    Args:
        model (MLSGM): The model of the novel classes; changed in place.
        base (MLSGM): The model of the base classes, with word vectors from the same source.
        classifier (str): Where CSAC's classifier starts: :obj:`'nearest'`, each novel class from the base class whose
            word vector has the largest cosine with its own, or :obj:`'random'`, as :obj:`model` was initialised.
            (default: :obj:`'nearest'`)

    Shapes:
        - **output:** with :obj:`'nearest'` the base class that each novel class started from, :math:`(C_n)`

    Raises:
        ValueError: If the two differ in more than their labels, or the choice is unknown.
    """
    check_choice('classifier', classifier, CLASSIFIERS)
    for part, name in CARRIED.items():
        try:
            model.get_submodule(part).load_state_dict(base.get_submodule(part).state_dict())
        except RuntimeError as error:
            told = ' '.join(str(error).split())  # torch's message has many lines.
            raise ValueError(f'the {name} of the base model does not fit: {told}') from error
    if base.score == BLEND and model.score == BLEND:
        model.blend.copy_(base.blend)
    model.backbone.freeze()
    if classifier == 'random':
        return None
    nearest = nearest_classes(model.word_vectors, base.word_vectors)
    model.csac.classifier.weight.copy_(base.csac.classifier.weight[nearest])
    model.csac.classifier.bias.copy_(base.csac.classifier.bias[nearest])
    return nearest
