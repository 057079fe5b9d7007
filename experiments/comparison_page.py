def write(summary, path):
    raise NotImplementedError
