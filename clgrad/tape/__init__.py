"""The graph of derivatives: nodes, saved values, versions, grad mode. Knows no kernels."""
