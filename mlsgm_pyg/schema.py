"""The names of the assignment graph's node and edge types, written down once."""

INSTANCE = 'instance'  #: Content-aware regions of one image; the first of each image is the whole image, x^0.
LABEL = 'label'  #: One node a class, the same in every image.

NEAR = (INSTANCE, 'near', INSTANCE)  #: kNN by box centres, neighbour -> node (the paper's G^o).
RELATED = (LABEL, 'related', LABEL)  #: The label semantic graph (G^l).
MATCHES = (INSTANCE, 'matches', LABEL)  #: Every instance joined to every label: the edges that are scored.

#: Both node types.
NODE_TYPES = [INSTANCE, LABEL]
#: All edge types.
EDGE_TYPES = [NEAR, RELATED, MATCHES]
#: What layers for heterogeneous graphs are built from.
METADATA = (NODE_TYPES, EDGE_TYPES)
