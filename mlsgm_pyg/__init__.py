"""ML-SGM: multi-label image recognition by matching a graph of image regions with a graph of labels."""

__version__ = '0.1.0'
