"""Kernel text from specs: what to generate, templates, heuristics, lowering; no device.

Start at `loops` for pointwise and reduction kernels and at `matmul` for products. The only importer
of jinja2 is `template`.
"""
