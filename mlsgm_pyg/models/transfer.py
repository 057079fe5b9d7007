"""Few-shot, stage two: a model over novel classes that starts from one of base classes (paper, Section III-E c)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mlsgm_pyg.models.ml_sgm import MLSGM
from mlsgm_pyg.names import check_choice

CARRIED = ('backbone', 'reduce', 'encoder', 'blocks', 'decoder')  # What does not depend on the labels.
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
    for name in CARRIED:
        try:
            getattr(model, name).load_state_dict(getattr(base, name).state_dict())
        except RuntimeError as error:
            told = ' '.join(str(error).split())  # torch's message has many lines.
            raise ValueError(f'the {name} of the base model does not fit: {told}') from error
    model.backbone.freeze()
    if classifier == 'random':
        return None
    nearest = nearest_classes(model.word_vectors, base.word_vectors)
    model.csac.classifier.weight.copy_(base.csac.classifier.weight[nearest])
    model.csac.classifier.bias.copy_(base.csac.classifier.bias[nearest])
    return nearest


def nearest_classes(words: Tensor, base_words: Tensor) -> Tensor:
    """The base class whose word vector has the largest cosine with each novel class's.

    Shapes:
        - **inputs:** :obj:`words` :math:`(C_n, F)`, :obj:`base_words` :math:`(C_b, F)`
        - **output:** :math:`(C_n)`
    """
    return (F.normalize(words, dim=1) @ F.normalize(base_words, dim=1).T).argmax(1)


def nearest_weights(words: Tensor, base_words: Tensor, k: int = 3) -> Tensor:
    r"""Each novel class as a convex combination of its :obj:`k` nearest base classes, weighted by similarity:

    .. math::
        a_{nb} = \frac{\max(\cos(\mathbf{w}_n, \mathbf{w}_b), \epsilon)}
        {\sum_{b' \in \mathcal{N}_k(n)} \max(\cos(\mathbf{w}_n, \mathbf{w}_{b'}), \epsilon)}
        \text{ for } b \in \mathcal{N}_k(n), \text{ else } 0

    With one, that is :func:`nearest_classes`.

    Args:
        words (Tensor): Word vectors of the novel classes.
        base_words (Tensor): Word vectors of the base classes.
        k (int): How many base classes; all, where there are fewer. (default: :obj:`3`)

    Shapes:
        - **inputs:** :obj:`words` :math:`(C_n, F)`, :obj:`base_words` :math:`(C_b, F)`
        - **output:** :math:`(C_n, C_b)`; rows add up to 1

    Raises:
        ValueError: If :obj:`k` is below 1.
    """
    if k < 1:
        raise ValueError(f"'num_nearest' must be at least 1 (got {k})")
    similar = F.normalize(words, dim=1) @ F.normalize(base_words, dim=1).T
    value, index = similar.sort(dim=1, descending=True, stable=True)
    value, index = value[:, :k].clamp(min=1e-6), index[:, :k]
    return torch.zeros_like(similar).scatter(1, index, value / value.sum(1, keepdim=True))
