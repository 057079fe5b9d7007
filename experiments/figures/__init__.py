"""The paper's figures, a module each; `python -m experiments.figure` draws them."""
