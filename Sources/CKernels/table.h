// The list of kernels, written once: the dispatch table, its three instances and the exported
// functions are all generated from it. F(result, name, parameters, arguments).
#pragma once
#include "CKernels.h"

#define CK_FUNCTIONS(F)                                                                            \
  F(void, add, (float *x, const float *y, size_t n), (x, y, n))                                    \
  F(void, scale, (float *x, size_t n, float s), (x, n, s))                                         \
  F(void, weighted_sum,                                                                            \
    (const float *x, float a, const float *y, float b, float *out, size_t n),                      \
    (x, a, y, b, out, n))                                                                          \
  F(void, multiply, (const float *x, const float *y, float factor, float *out, size_t n),          \
    (x, y, factor, out, n))                                                                        \
  F(void, halves, (const float *x, uint16_t *out, size_t n), (x, out, n))                          \
  F(void, widen, (const uint16_t *x, float *out, size_t n), (x, out, n))                           \
  F(double, sum_squares, (const float *x, size_t n), (x, n))                                       \
  F(void, add_squares, (const float *x, double *sums, size_t n), (x, sums, n))                     \
  F(void, column_sum,                                                                              \
    (const float *x, size_t x_stride, size_t rows, size_t width, float *out),                      \
    (x, x_stride, rows, width, out))                                                               \
  F(void, row_dot,                                                                                 \
    (const float *a, size_t a_stride, const float *b, size_t b_stride, size_t rows, size_t width,  \
     float *out),                                                                                  \
    (a, a_stride, b, b_stride, rows, width, out))                                                  \
  F(void, product,                                                                                 \
    (ck_left a, const float *b, size_t b_strip, float *c, size_t c_row, size_t c_strip,            \
     size_t rows, size_t columns, size_t depth, int add, int go_on, const float *bias, int relu,   \
     const float *gate, size_t gate_strip),                                                        \
    (a, b, b_strip, c, c_row, c_strip, rows, columns, depth, add, go_on, bias, relu, gate,         \
     gate_strip))                                                                                  \
  F(void, strips_from_rows,                                                                        \
    (const float *rows, size_t row_stride, size_t count, size_t columns, float *strips,            \
     size_t strip_stride),                                                                         \
    (rows, row_stride, count, columns, strips, strip_stride))                                      \
  F(void, strips_transposed,                                                                       \
    (const float *rows, size_t row_stride, size_t count, size_t columns, float *strips,            \
     size_t strip_stride),                                                                         \
    (rows, row_stride, count, columns, strips, strip_stride))                                      \
  F(void, strips_gathered,                                                                         \
    (const float *rows, size_t row_stride, const int32_t *index, size_t count, size_t columns,     \
     float *strips, size_t strip_stride),                                                          \
    (rows, row_stride, index, count, columns, strips, strip_stride))                               \
  F(double, fma_loop, (size_t rounds, float *result), (rounds, result))                            \
  F(void, stream_to_float, (const int32_t *x, float *out, size_t n, float step),                   \
    (x, out, n, step))                                                                             \
  F(size_t, stream_add, (int32_t *x, const float *f, size_t n, float inverse_step),                \
    (x, f, n, inverse_step))                                                                       \
  F(size_t, stream_subtract, (int32_t *x, const float *f, size_t n, float inverse_step),           \
    (x, f, n, inverse_step))                                                                       \
  F(void, layernorm_forward,                                                                       \
    (const float *x, size_t x_stride, size_t rows, size_t width, const float *gain,                \
     const float *bias, float epsilon, float *out, size_t out_stride, float *mean, float *rstd),   \
    (x, x_stride, rows, width, gain, bias, epsilon, out, out_stride, mean, rstd))                  \
  F(void, layernorm_backward,                                                                      \
    (const float *dy, size_t dy_stride, const float *x, size_t x_stride, size_t rows,              \
     size_t width, const float *gain, const float *mean, const float *rstd, float *dx,             \
     size_t dx_stride, float *dgain, float *dbias),                                                \
    (dy, dy_stride, x, x_stride, rows, width, gain, mean, rstd, dx, dx_stride, dgain, dbias))      \
  F(void, gelu, (const float *x, float *out, size_t n), (x, out, n))                               \
  F(void, gelu_backward, (const float *dy, const float *x, float *dx, size_t n), (dy, x, dx, n))   \
  F(void, square, (const float *x, float *out, size_t n), (x, out, n))                             \
  F(void, square_backward, (float *dy, const float *x, size_t n), (dy, x, n))                      \
  F(void, turn, (float *x, size_t n, const float *near, const float *far, float direction),        \
    (x, n, near, far, direction))                                                                  \
  F(void, exp, (const float *x, float *out, size_t n), (x, out, n))                                \
  F(void, log, (const float *x, float *out, size_t n), (x, out, n))                                \
  F(void, erf, (const float *x, float *out, size_t n), (x, out, n))                                \
  F(void, sine_cosine, (const uint32_t *turn, float *sine, float *cosine, size_t n),               \
    (turn, sine, cosine, n))                                                                       \
  F(void, philox, (uint64_t key, uint64_t first, uint32_t *out, size_t n), (key, first, out, n))   \
  F(void, dropout,                                                                                 \
    (float *x, size_t n, uint64_t key, uint64_t first, uint32_t threshold, float scale),           \
    (x, n, key, first, threshold, scale))                                                          \
  F(void, dropout_runs,                                                                            \
    (float *x, size_t rows, size_t keys, const int32_t *first, const int32_t *end,                 \
     const int32_t *query, const int32_t *key_position, uint64_t length, uint64_t lists,           \
     uint64_t list, uint64_t key, uint32_t threshold, float scale),                                \
    (x, rows, keys, first, end, query, key_position, length, lists, list, key, threshold, scale))  \
  F(void, normal, (float *out, size_t n, uint64_t key, uint64_t first), (out, n, key, first))      \
  F(void, gather_rows,                                                                             \
    (const float *src, size_t src_stride, const int32_t *index, size_t rows, size_t width,         \
     int32_t limit, const float *row_scale, size_t row_scale_stride, float *dst,                   \
     size_t dst_stride),                                                                           \
    (src, src_stride, index, rows, width, limit, row_scale, row_scale_stride, dst, dst_stride))    \
  F(void, add_weighted_rows,                                                                       \
    (const float *weights, const float *src, size_t src_stride, const int32_t *index, size_t rows, \
     size_t width, float *out),                                                                    \
    (weights, src, src_stride, index, rows, width, out))                                           \
  F(void, scatter_add_rows,                                                                        \
    (float *dst, size_t dst_stride, const int32_t *index, size_t rows, size_t width,               \
     int32_t limit, const float *src),                                                             \
    (dst, dst_stride, index, rows, width, limit, src))                                             \
  F(void, key_scale,                                                                               \
    (const float *x, size_t x_stride, size_t rows, size_t width, float *scale,                     \
     size_t scale_stride),                                                                         \
    (x, x_stride, rows, width, scale, scale_stride))                                               \
  F(void, key_scale_backward,                                                                      \
    (const float *dkey, size_t dkey_stride, const float *x, size_t x_stride, const int32_t *index, \
     size_t rows, size_t width, int32_t limit, const float *scale, size_t scale_stride, float *dx, \
     size_t dx_stride),                                                                            \
    (dkey, dkey_stride, x, x_stride, index, rows, width, limit, scale, scale_stride, dx,           \
     dx_stride))                                                                                   \
  F(void, masked_softmax,                                                                          \
    (float *scores, size_t rows, size_t keys, const int32_t *query_position,                       \
     const int32_t *key_position, int32_t through, int mask_self, float *row_max, float *row_sum), \
    (scores, rows, keys, query_position, key_position, through, mask_self, row_max, row_sum))      \
  F(void, run_softmax,                                                                             \
    (float *scores, size_t rows, size_t keys, const int32_t *first, const int32_t *end,            \
     int last_resort, float *row_max, float *row_sum),                                             \
    (scores, rows, keys, first, end, last_resort, row_max, row_sum))                               \
  F(void, merge_rows,                                                                              \
    (float *out, size_t out_stride, float *maximum, float *sum, size_t stat_stride,                \
     const int32_t *index, size_t rows, size_t width, int32_t limit, const float *partial,         \
     const float *partial_max, const float *partial_sum),                                          \
    (out, out_stride, maximum, sum, stat_stride, index, rows, width, limit, partial, partial_max,  \
     partial_sum))                                                                                 \
  F(void, normalize_rows,                                                                          \
    (float *x, size_t x_stride, size_t rows, size_t width, const float *sum, size_t sum_stride),   \
    (x, x_stride, rows, width, sum, sum_stride))                                                   \
  F(void, masked_softmax_backward,                                                                 \
    (float *scores, float *dp, size_t rows, size_t keys, const int32_t *query_position,            \
     const int32_t *key_position, int32_t through, int mask_self, const float *maximum,            \
     const float *sum, const float *d),                                                            \
    (scores, dp, rows, keys, query_position, key_position, through, mask_self, maximum, sum, d))   \
  F(void, run_softmax_backward,                                                                    \
    (float *scores, float *dp, size_t rows, size_t keys, const int32_t *first,                     \
     const int32_t *end, int last_resort, const float *maximum, const float *sum, const float *d), \
    (scores, dp, rows, keys, first, end, last_resort, maximum, sum, d))                            \
  F(void, hash_buckets,                                                                            \
    (const float *rotated, size_t stride, size_t rows, const int32_t *factors,                     \
     size_t factor_count, int32_t *buckets),                                                       \
    (rotated, stride, rows, factors, factor_count, buckets))                                       \
  F(void, column_maximum,                                                                          \
    (const float *x, size_t x_stride, size_t rows, size_t width, float *out),                      \
    (x, x_stride, rows, width, out))                                                               \
  F(void, column_exp,                                                                              \
    (float *x, size_t x_stride, size_t rows, size_t width, const float *shift, float top,          \
     float floor),                                                                                 \
    (x, x_stride, rows, width, shift, top, floor))                                                 \
  F(void, column_exp_backward,                                                                     \
    (float *dy, size_t dy_stride, const float *x, size_t x_stride, size_t rows, size_t width,      \
     float top, float floor, float *sums),                                                         \
    (dy, dy_stride, x, x_stride, rows, width, top, floor, sums))                                   \
  F(void, mix_logits,                                                                              \
    (float *probabilities, float weight, const float *logits, float logit_weight, float *out,      \
     size_t n),                                                                                    \
    (probabilities, weight, logits, logit_weight, out, n))                                         \
  F(void, cross_entropy,                                                                           \
    (float *logits, size_t stride, size_t rows, size_t classes, const int32_t *targets,            \
     int gradient, float gradient_scale, float *row_loss),                                         \
    (logits, stride, rows, classes, targets, gradient, gradient_scale, row_loss))                  \
  F(void, adam,                                                                                    \
    (float *p, const float *gradient, float *m, float *v, size_t n, float gradient_scale,          \
     float rate, float beta1, float beta2, float epsilon, float decay, float first_correction,     \
     float second_correction),                                                                     \
    (p, gradient, m, v, n, gradient_scale, rate, beta1, beta2, epsilon, decay, first_correction,   \
     second_correction))                                                                           \
  F(void, follow, (float *average, const float *values, size_t n, float share),                    \
    (average, values, n, share))

// Those of bf16 numbers, which two more instruction sets have.
#define CK_PAIR_FUNCTIONS(F)                                                                       \
  F(void, product_pairs,                                                                           \
    (ck_left a, const float *b, size_t b_strip, float *c, size_t c_row, size_t c_strip,            \
     size_t rows, size_t columns, size_t depth, int add, int go_on, const float *bias, int relu,   \
     const uint16_t *gate, size_t gate_strip),                                                     \
    (a, b, b_strip, c, c_row, c_strip, rows, columns, depth, add, go_on, bias, relu, gate,         \
     gate_strip))                                                                                  \
  F(void, product_blocks,                                                                          \
    (ck_left a, const float *b, size_t b_strip, float *c, size_t c_row, size_t c_strip,            \
     size_t rows, size_t columns, size_t depth, int add, int go_on, const float *bias, int relu,   \
     const uint16_t *gate, size_t gate_strip),                                                     \
    (a, b, b_strip, c, c_row, c_strip, rows, columns, depth, add, go_on, bias, relu, gate,         \
     gate_strip))                                                                                  \
  F(void, round_pairs,                                                                             \
    (const float *from, size_t row, size_t strip, size_t rows, size_t columns, uint32_t *left,     \
     size_t left_strip, uint32_t *right, size_t right_strip),                                      \
    (from, row, strip, rows, columns, left, left_strip, right, right_strip))                       \
  F(double, pair_loop, (size_t rounds, float *result), (rounds, result))                           \
  F(double, block_loop, (size_t rounds, float *result), (rounds, result))                          \
  F(void, release_tiles, (void), ())

// One instruction set's kernels.
struct ck_table {
#define CK_FIELD(result, name, parameters, arguments) result(*name) parameters;
  CK_FUNCTIONS(CK_FIELD)
};
struct ck_pair_table {
  CK_PAIR_FUNCTIONS(CK_FIELD)
#undef CK_FIELD
};

extern const struct ck_table ck_table_scalar;
extern const struct ck_pair_table ck_pair_table_scalar;
#if defined(__x86_64__)
extern const struct ck_table ck_table_avx2;
extern const struct ck_pair_table ck_pair_table_avx2;
extern const struct ck_table ck_table_avx512;
extern const struct ck_pair_table ck_pair_table_avx512;
extern const struct ck_pair_table ck_pair_table_avx512_bf16;
extern const struct ck_pair_table ck_pair_table_amx;
#endif
