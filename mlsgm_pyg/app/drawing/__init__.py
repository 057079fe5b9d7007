"""Pictures and SVG from arrays and predictions: boxes and activation, the assignment graph, charts."""
