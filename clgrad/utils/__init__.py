"""What training programs need around a model; each part in a module of PyTorch's name."""

from clgrad.utils import checkpoint as checkpoint
from clgrad.utils import data as data
from clgrad.utils.swapping import swap_tensors as swap_tensors
