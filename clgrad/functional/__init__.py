"""Functions over tensors that are no record of their own: shapes, joining, products."""
