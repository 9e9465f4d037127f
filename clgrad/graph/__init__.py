"""Deferred execution: values, the tape, fusion, plans; knows no gradients."""
