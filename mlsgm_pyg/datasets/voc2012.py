"""PASCAL VOC 2012."""

from pathlib import Path

from mlsgm_pyg.datasets.voc import SITE, Voc

TRAINVAL = f'{SITE}/voc2012/VOCtrainval_11-May-2012.tar'


class Voc2012(Voc):
    """PASCAL VOC 2012: 5,717 images to train (:obj:`'train'`) and 5,823 to validate (:obj:`'val'`), together
    :obj:`'trainval'` (11,540), 20 classes. What the test images show is known to its evaluation server alone, so
    :obj:`'val'` is what is evaluated here. Layout and options are those of :class:`~mlsgm_pyg.datasets.voc.Voc`.
    """

    year = 2012
    counts = {'trainval': 11540, 'train': 5717, 'val': 5823}
    archives = dict.fromkeys(counts, TRAINVAL)

    def __init__(
        self,
        root: str | Path,
        split: str = 'train',
        difficult: str = 'ignore',
        download: bool = False,
        missing: str = 'raise',
        verify: bool = True,
    ):
        if split == 'test':
            raise ValueError(
                "the annotations of PASCAL VOC 2012's test images are not public, only its evaluation server has them: "
                "train on 'train' and evaluate on 'val' (got split='test')"
            )
        super().__init__(root, split, difficult, download, missing, verify)
