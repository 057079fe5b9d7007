"""PASCAL VOC 2007."""

from mlsgm_pyg.datasets.voc import NAMES, SITE, Voc

__all__ = ['NAMES', 'Voc2007']

TRAINVAL, TEST = f'{SITE}/voc2007/VOCtrainval_06-Nov-2007.tar', f'{SITE}/voc2007/VOCtest_06-Nov-2007.tar'


class Voc2007(Voc):
    """PASCAL VOC 2007: 5,011 images to train (:obj:`'trainval'`) and 4,952 to test, 20 classes; the splits
    :obj:`'train'` (2,501) and :obj:`'val'` (2,510) share out :obj:`'trainval'`. Layout and options are those of
    :class:`~mlsgm_pyg.datasets.voc.Voc`.
    """

    year = 2007
    counts = {'trainval': 5011, 'test': 4952, 'train': 2501, 'val': 2510}
    archives = {'trainval': TRAINVAL, 'test': TEST, 'train': TRAINVAL, 'val': TRAINVAL}
