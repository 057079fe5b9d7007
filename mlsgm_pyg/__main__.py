"""python -m mlsgm_pyg VERB ...: what `mlsgm` does."""

import sys

from mlsgm_pyg.app.cli import main

if __name__ == '__main__':
    sys.exit(main())
