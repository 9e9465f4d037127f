"""Sample calls of functions, for `clgrad dump NAME`: an expression and the operands in it.

Only what cannot be guessed is here: a function whose arguments without a default are all tensors of
one shape (`softplus(input)`, `huber_loss(input, target)`) is called on tensors of 64 x 128.
"""

from __future__ import annotations

_TEXT = """
adaptive_avg_pool1d(x, 4)                      | x 8x16x28
adaptive_avg_pool2d(x, (4, 4))                 | x 8x16x28x28
adaptive_avg_pool3d(x, (2, 4, 4))              | x 8x16x4x28x28
adaptive_max_pool1d(x, 4)                      | x 8x16x28
adaptive_max_pool1d_with_indices(x, 4)         | x 8x16x28
adaptive_max_pool2d(x, (4, 4))                 | x 8x16x28x28
adaptive_max_pool2d_with_indices(x, (4, 4))    | x 8x16x28x28
adaptive_max_pool3d(x, (2, 4, 4))              | x 8x16x4x28x28
adaptive_max_pool3d_with_indices(x, (2, 4, 4)) | x 8x16x4x28x28
addbmm(x, a, b)                                | x 64x32, a 4x64x128, b 4x128x32
addmm(x, a, b)                                 | x 64x32, a 64x128, b 128x32
addmv(x, a, v)                                 | x 64, a 64x128, v 128
addr(x, a, b)                                  | x 64x128, a 64, b 128
affine_grid(theta, (8, 3, 28, 28), True)       | theta 8x2x3
affine_grid_generator(theta, (8, 3, 28, 28), True) | theta 8x2x3
alpha_dropout(x, 0.5, True)                    | x 64x128
as_strided(x, (32, 64), (1, 128))              | x 64x128
as_strided_copy(x, (32, 64), (1, 128))         | x 64x128
as_strided_scatter(x, a, (32, 64), (1, 128))   | x 64x128, a 32x64
avg_pool1d(x, 2)                               | x 8x16x28
avg_pool2d(x, 2)                               | x 8x16x28x28
avg_pool3d(x, 2)                               | x 8x16x4x28x28
baddbmm(x, a, b)                               | x 4x64x32, a 4x64x128, b 4x128x32
bartlett_window(400)                           |
batch_norm(x, w, b, mean, var, True, 0.1, 1e-5, False) | x 8x16x28x28, w 16, b 16, mean 16, var 16
bilinear(a, b, w)                              | a 64x32, b 64x16, w 8x32x16
binary_cross_entropy(x, target)                | x 64, target 64
bincount(x, minlength=10)                      | x 1000:int64
blackman_window(400)                           |
broadcast_to(x, (4, 64, 128))                  | x 64x128
bucketize(x, bounds)                           | x 64x128, bounds 10
cartesian_prod(a, b)                           | a 64, b 128
cat([a, b])                                    | a 64x128, b 64x128
channel_shuffle(x, 4)                          | x 8x16x28x28
cholesky(x)                                    | x 4x16x16
cholesky_ex(x)                                 | x 4x16x16
cholesky_inverse(x)                            | x 4x16x16
cholesky_solve(b, x)                           | b 4x16x8, x 4x16x16
chunk(x, 2)                                    | x 64x128
clamp(x, 0, 1)                                 | x 64x128
clip(x, 0, 1)                                  | x 64x128
column_stack([a, b])                           | a 64x128, b 64x128
combinations(x)                                | x 64
cond(x)                                        | x 4x16x16
constant_pad_nd(x, (1, 1))                     | x 64x128
conv1d(x, w, b, padding=1)                     | x 8x16x28, w 32x16x3, b 32
conv2d(x, w, b, padding=1)                     | x 8x16x28x28, w 32x16x3x3, b 32
conv3d(x, w, b, padding=1)                     | x 8x16x4x28x28, w 32x16x3x3x3, b 32
conv_transpose1d(x, w, b, stride=2)            | x 8x16x14, w 16x32x3, b 32
conv_transpose2d(x, w, b, stride=2)            | x 8x16x14x14, w 16x32x3x3, b 32
conv_transpose3d(x, w, b, stride=2)            | x 8x16x4x14x14, w 16x32x3x3x3, b 32
convolution(x, w, b, (1, 1), (1, 1), (1, 1), False, (0, 0), 1) | x 8x16x28x28, w 32x16x3x3, b 32
cosine_embedding_loss(a, b, target)            | a 64x128, b 64x128, target 64
count_nonzero(x, dim=1)                        | x 64x128
cross(a, b)                                    | a 64x3, b 64x3
cross_entropy(x, target)                       | x 64x128, target 64:int64
ctc_loss(x, target, [50] * 16, [20] * 16)      | x 50x16x20, target 16x20:int64
cumprod(x, 1)                                  | x 64x128
cumsum(x, 1)                                   | x 64x128
cumulative_trapezoid(x)                        | x 64x128
det(x)                                         | x 4x16x16
diag_embed(x)                                  | x 64x128
diagonal_scatter(x, a)                         | x 64x128, a 64
diff(x)                                        | x 64x128
dot(a, b)                                      | a 128, b 128
dropout(x, 0.5, True)                          | x 64x128
dsplit(x, 2)                                   | x 8x16x28
dstack([a, b])                                 | a 64x128, b 64x128
eigh(x)                                        | x 4x16x16
eigvalsh(x)                                    | x 4x16x16
einsum('bij,bjk->bik', a, b)                   | a 4x64x128, b 4x128x32
embedding(w, index)                            | w 64x128, index 4x32:int64
embedding_bag(index, w)                        | index 4x32:int64, w 64x128
embedding_renorm_(w, index, 1.0, 2.0)          | w 64x128, index 32:int64
empty_like(x)                                  | x 64x128
expand_copy(x, (4, 64, 128))                   | x 64x128
eye(64)                                        |
feature_alpha_dropout(x, 0.5, True)            | x 8x16x28x28
feature_dropout(x, 0.5, True)                  | x 8x16x28x28
fill(x, 1.5)                                   | x 64x128
fold(x, (28, 28), 3)                           | x 8x144x676
fractional_max_pool2d(x, 2, (14, 14))          | x 8x16x28x28
fractional_max_pool2d_with_indices(x, 2, (14, 14)) | x 8x16x28x28
fractional_max_pool3d(x, 2, (2, 14, 14))       | x 8x16x4x28x28
fractional_max_pool3d_with_indices(x, 2, (2, 14, 14)) | x 8x16x4x28x28
full_like(x, 1.5)                              | x 64x128
gather(x, 1, index)                            | x 64x128, index 64x32:int64
ger(a, b)                                      | a 64, b 128
grid_sample(x, grid, align_corners=True)       | x 8x3x28x28, grid 8x14x14x2
grid_sampler(x, grid, 0, 0, True)              | x 8x3x28x28, grid 8x14x14x2
grid_sampler_2d(x, grid, 0, 0, True)           | x 8x3x28x28, grid 8x14x14x2
grid_sampler_3d(x, grid, 0, 0, True)           | x 8x3x4x28x28, grid 8x2x14x14x3
group_norm(x, 4, w, b)                         | x 8x16x28x28, w 16, b 16
hamming_window(400)                            |
hann_window(400)                               |
histc(x, 10)                                   | x 64x128
histogram(x, 10, range=(0, 1))                 | x 1000
histogramdd(x, [10, 10], range=(0, 1, 0, 1))   | x 1000x2
householder_product(x, tau)                    | x 4x16x8, tau 4x8
hsplit(x, 2)                                   | x 64x128
hstack([a, b])                                 | a 64x128, b 64x128
index_add(x, 0, index, a)                      | x 64x128, index 32:int64, a 32x128
index_copy(x, 0, index, a)                     | x 64x128, index 32:int64, a 32x128
index_fill(x, 0, index, 1.5)                   | x 64x128, index 32:int64
index_put(x, (index,), a)                      | x 64x128, index 32:int64, a 32x128
index_reduce(x, 0, index, a, 'amax')           | x 64x128, index 32:int64, a 32x128
index_select(x, 0, index)                      | x 64x128, index 32:int64
inner(a, b)                                    | a 64x128, b 32x128
instance_norm(x, w, b, None, None, True, 0.1, 1e-5, False) | x 8x16x28x28, w 16, b 16
interpolate(x, scale_factor=2, mode='bilinear') | x 8x16x14x14
inv(x)                                         | x 4x16x16
inv_ex(x)                                      | x 4x16x16
inverse(x)                                     | x 4x16x16
isin(x, a)                                     | x 64x128, a 10
kaiser_window(400)                             |
kron(a, b)                                     | a 8x8, b 4x4
layer_norm(x, (128,), w, b)                    | x 64x128, w 128, b 128
linear(x, w, b)                                | x 64x128, w 32x128, b 32
linear_cross_entropy(x, w, target)             | x 64x128, w 10x128, target 64:int64
local_response_norm(x, 5)                      | x 8x16x28x28
logcumsumexp(x, 1)                             | x 64x128
logdet(x)                                      | x 4x16x16
logspace(0, 1, 100)                            |
lp_pool1d(x, 2, 2)                             | x 8x16x28
lp_pool2d(x, 2, 2)                             | x 8x16x28x28
lp_pool3d(x, 2, 2)                             | x 8x16x4x28x28
lstsq(a, b)                                    | a 4x32x16, b 4x32x8
lu_factor(x)                                   | x 4x16x16
lu_solve(b, lu, pivots)                        | b 4x16x8, lu 4x16x16, pivots 4x16:int32
lu_unpack(lu, pivots)                          | lu 4x16x16, pivots 4x16:int32
margin_ranking_loss(a, b, target)              | a 64, b 64, target 64
masked_fill(x, mask, 1.5)                      | x 64x128, mask 64x128:bool
masked_scatter(x, mask, a)                     | x 64x128, mask 64x128:bool, a 64x128
masked_select(x, mask)                         | x 64x128, mask 64x128:bool
matmul(a, b)                                   | a 64x128, b 128x32
matrix_exp(x)                                  | x 4x16x16
matrix_power(x, 3)                             | x 4x16x16
matrix_rank(x)                                 | x 4x16x16
max_pool1d(x, 2)                               | x 8x16x28
max_pool1d_with_indices(x, 2)                  | x 8x16x28
max_pool2d(x, 2)                               | x 8x16x28x28
max_pool2d_with_indices(x, 2)                  | x 8x16x28x28
max_pool3d(x, 2)                               | x 8x16x4x28x28
max_pool3d_with_indices(x, 2)                  | x 8x16x4x28x28
max_unpool1d(x, index, 2)                      | x 8x16x14, index 8x16x14:int64
max_unpool2d(x, index, 2)                      | x 8x16x14x14, index 8x16x14x14:int64
max_unpool3d(x, index, 2)                      | x 8x16x2x14x14, index 8x16x2x14x14:int64
meshgrid(a, b, indexing='ij')                  | a 64, b 128
moveaxis(x, 0, 1)                              | x 64x128
movedim(x, 0, 1)                               | x 64x128
multi_dot([a, b, c])                           | a 64x128, b 128x32, c 32x16
multi_margin_loss(x, target)                   | x 64x128, target 64:int64
multigammaln(x, 3)                             | x 64x128
multilabel_margin_loss(x, target)              | x 64x128, target 64x128:int64
multinomial(p, 10, True)                       | p 64x128
mv(a, v)                                       | a 64x128, v 128
mvlgamma(x, 3)                                 | x 64x128
nanquantile(x, 0.5, dim=1)                     | x 64x128
narrow_copy(x, 0, 1, 32)                       | x 64x128
native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5) | x 8x16x28x28, w 16, b 16
native_channel_shuffle(x, 4)                   | x 8x16x28x28
native_dropout(x, 0.5, True)                   | x 64x128
native_group_norm(x, w, b, 8, 16, 784, 4, 1e-5) | x 8x16x28x28, w 16, b 16
native_layer_norm(x, (128,), w, b, 1e-5)       | x 64x128, w 128, b 128
nll_loss(x, target)                            | x 64x128, target 64:int64
nonzero_static(x, size=10)                     | x 64x128
one_hot(index, 10)                             | index 64:int64
ones((64, 128))                                |
orgqr(x, tau)                                  | x 4x16x8, tau 4x8
ormqr(x, tau, a)                               | x 4x16x8, tau 4x8, a 4x16x16
outer(a, b)                                    | a 64, b 128
pad(x, (1, 1))                                 | x 64x128
pca_lowrank(x)                                 | x 64x32
permute_copy(x, (1, 0))                        | x 64x128
pixel_shuffle(x, 2)                            | x 8x16x14x14
pixel_unshuffle(x, 2)                          | x 8x16x14x14
polygamma(1, x)                                | x 64x128
prelu(x, w)                                    | x 64x128, w 128
put(x, index, a)                               | x 64x128, index 32:int64, a 32
quantile(x, 0.5, dim=1)                        | x 64x128
randint_like(x, 10)                            | x 64x128
randperm(100)                                  |
range(0, 100)                                  |
renorm(x, 2, 0, 1.0)                           | x 64x128
repeat_interleave(x, 2, dim=0)                 | x 64x128
reshape(x, (128, 64))                          | x 64x128
rms_norm(x, (128,), w)                         | x 64x128, w 128
roll(x, 1, 0)                                  | x 64x128
scalar_tensor(1.5)                             |
scaled_dot_product_attention(q, k, v)          | q 4x8x64x32, k 4x8x64x32, v 4x8x64x32
scatter(x, 1, index, a)                        | x 64x128, index 64x32:int64, a 64x32
scatter_add(x, 1, index, a)                    | x 64x128, index 64x32:int64, a 64x32
scatter_reduce(x, 1, index, a, 'amax')         | x 64x128, index 64x32:int64, a 64x32
searchsorted(bounds, x)                        | bounds 10, x 64x128
select_copy(x, 0, 1)                           | x 64x128
select_scatter(x, a, 0, 1)                     | x 64x128, a 128
slogdet(x)                                     | x 4x16x16
solve(a, b)                                    | a 4x16x16, b 4x16x8
solve_ex(a, b)                                 | a 4x16x16, b 4x16x8
solve_triangular(a, b, upper=True)             | a 4x16x16, b 4x16x8
split(x, 32)                                   | x 64x128
split_copy(x, 32)                              | x 64x128
split_with_sizes(x, (32, 32))                  | x 64x128
split_with_sizes_copy(x, (32, 32))             | x 64x128
squeeze_copy(x)                                | x 64x1x128
stack([a, b])                                  | a 64x128, b 64x128
svd(x)                                         | x 4x16x16
svdvals(x)                                     | x 4x16x16
swapaxes(x, 0, 1)                              | x 64x128
swapdims(x, 0, 1)                              | x 64x128
take(x, index)                                 | x 64x128, index 32:int64
take_along_dim(x, index, 1)                    | x 64x128, index 64x32:int64
tensor_split(x, 2)                             | x 64x128
tensordot(a, b, 1)                             | a 64x128, b 128x32
tensorinv(x, 1)                                | x 16x4x4
tensorsolve(a, b)                              | a 16x4x4, b 16
threshold(x, 0.1, 0.0)                         | x 64x128
transpose_copy(x, 0, 1)                        | x 64x128
triangular_solve(b, a)                         | b 4x16x8, a 4x16x16
tril_indices(10, 10)                           |
triu_indices(10, 10)                           |
unflatten(x, 1, (16, 8))                       | x 64x128
unfold_copy(x, 0, 3, 2)                        | x 64x128
unravel_index(index, (64, 128))                | index 100:int64
unsafe_chunk(x, 2)                             | x 64x128
unsafe_split(x, 32)                            | x 64x128
unsafe_split_with_sizes(x, (32, 32))           | x 64x128
unsqueeze_copy(x, 0)                           | x 64x128
upsample(x, scale_factor=2)                    | x 8x16x14x14
upsample_bilinear(x, scale_factor=2)           | x 8x16x14x14
upsample_nearest(x, scale_factor=2)            | x 8x16x14x14
vander(x, 4)                                   | x 64
vdot(a, b)                                     | a 128, b 128
view_copy(x, (128, 64))                        | x 64x128
vsplit(x, 2)                                   | x 64x128
vstack([a, b])                                 | a 64x128, b 64x128
zeros((64, 128))                               |
"""


def _read(line: str) -> tuple[str, tuple[str, str]]:
    call, _, operands = (part.strip() for part in line.partition("|"))
    return call.partition("(")[0], (call, operands)


SAMPLES: dict[str, tuple[str, str]] = dict(map(_read, _TEXT.strip().splitlines()))
"""The call of a function as text, and its operands as `name shape[:dtype], …`."""
