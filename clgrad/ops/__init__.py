"""The op table: data and host functions; no kernels, no tensors."""
