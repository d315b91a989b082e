// The leaf loops of the trainer: everything that touches every number of a tile.
//
// Each function exists for three instruction sets (portable, AVX2+FMA, AVX-512; products of bf16 for two
// more) compiled from one body;
// the first call picks the best one the CPU has, or the one that the environment variable
// REFORMER_INSTRUCTIONS names. Matrices are row-major; `*_stride` counts floats
// between rows. Nothing here allocates or keeps state apart from the chosen level.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- Instruction-set level: 0 portable, 1 AVX2+FMA, 2 AVX-512 (F, DQ, BW, VL), 3 with AVX512-BF16, 4 with
// the tiles of AMX (bf16), which the system has to grant.
int ck_best_level(void);            // the best level this CPU can run
int ck_active_level(void);          // the level in use
const char *ck_refused_level(void);  // REFORMER_INSTRUCTIONS where it names no level of this CPU, else NULL
int ck_level_is_forced(void);       // whether REFORMER_INSTRUCTIONS names another level than the best
int ck_set_level(int level);        // 0 when done, -1 when this CPU cannot run it; for tests only
// The same for the calling thread alone, so that tests can run side by side; -1 ends it.
int ck_set_thread_level(int level);
const char *ck_level_name(int level);  // "portable", "avx2", "avx512", "avx512-bf16", "amx"
int ck_has_pair_instruction(void);  // whether the level in use has an instruction for pairs of bf16
int ck_has_tiles(void);             // whether it has AMX tiles for blocks of them

// ---- Threads and caches
int ck_core_count(void);  // cores that this process may use
// Tells the processor that this thread looks at memory until another one writes there.
static inline void ck_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Asks for the cache line at `place`, which is soon read.
static inline void ck_fetch(const void *place) { __builtin_prefetch(place); }

// ---- Functions of one number in double precision, the same bits on every machine (functions.c).
// At most 1 ulp off: exp and log everywhere, pow for x >= 0, sin and cos for |x| <= 2^27 (NaN beyond).
double ck_double_exp(double x);
double ck_double_log(double x);
double ck_double_pow(double x, double y);
double ck_double_sin(double x);
double ck_double_cos(double x);

// ---- Vectors
void ck_add(float *x, const float *y, size_t n);                    // x += y
void ck_scale(float *x, size_t n, float s);                         // x *= s
// out = a x + b y, and out = factor x y, number by number; out may be x or y.
void ck_weighted_sum(const float *x, float a, const float *y, float b, float *out, size_t n);
void ck_multiply(const float *x, const float *y, float factor, float *out, size_t n);
// The bf16 numbers nearest to floats, ties to even, one that is too large as infinity and a NaN as one; and back.
void ck_halves(const float *x, uint16_t *out, size_t n);
void ck_widen(const uint16_t *x, float *out, size_t n);
double ck_sum_squares(const float *x, size_t n);                    // sum of x*x, in double
void ck_add_squares(const float *x, double *sums, size_t n);        // sums[j] += x[j]^2
// out[j] += sum over rows of x[i][j]
void ck_column_sum(const float *x, size_t x_stride, size_t rows, size_t width, float *out);
// out[i] = a[i] . b[i]
void ck_row_dot(const float *a, size_t a_stride, const float *b, size_t b_stride, size_t rows,
                size_t width, float *out);

// ---- Matrix products of tiles
// Strips: CK_STRIP columns of a matrix lie together, row after row; strips are strip_stride floats apart,
// the last one is padded (contents arbitrary).
enum { CK_STRIP = 32 };
// The left side of a product by address: element (i, p), with S = CK_STRIP, is base[i / S * row_block +
// i % S * row + p / S * k_block + p % S * k].
typedef struct {
  const float *base;  // or pairs of bf16, as many bits
  size_t row_block, row, k_block, k;
} ck_left;
// c = a b (+ c with add) (+ bias[column]), then max(., 0) with relu, then 0 where gate <= 0. With go_on the
// sums start at c: one chain over all of k, in order.
// a [rows, depth]; its k is 1, or its row is. b [depth, columns] in strips. Element
// (i, j) of c is c[i * c_row + j / S * c_strip + j % S]. bias may be NULL, and so may gate, which
// lies in strips.
void ck_product(ck_left a, const float *b, size_t b_strip, float *c, size_t c_row, size_t c_strip,
                size_t rows, size_t columns, size_t depth, int add, int go_on, const float *bias,
                int relu, const float *gate, size_t gate_strip);
// A row-major matrix [count, columns] as strips.
void ck_strips_from_rows(const float *rows, size_t row_stride, size_t count, size_t columns,
                         float *strips, size_t strip_stride);
// The transpose [columns, count] of a row-major matrix as strips.
void ck_strips_transposed(const float *rows, size_t row_stride, size_t count, size_t columns,
                          float *strips, size_t strip_stride);
// The same of the rows index[0 .. count - 1] of a matrix, all of which are there.
void ck_strips_gathered(const float *rows, size_t row_stride, const int32_t *index, size_t count,
                        size_t columns, float *strips, size_t strip_stride);

// The same product of bf16 numbers, rounded and added in single precision as by vdpbf16ps (bodies/pairs.h). An element
// of the operands is a pair of numbers that follow each other in k, the first one in its lower 16 bits; depth counts
// pairs. The gate lies as a left side, its strips gate_strip pairs apart.
void ck_product_pairs(ck_left a, const float *b, size_t b_strip, float *c, size_t c_row,
                      size_t c_strip, size_t rows, size_t columns, size_t depth, int add, int go_on,
                      const float *bias, int relu, const uint16_t *gate, size_t gate_strip);
// The same product in blocks of 32 numbers along k, as by tdpbf16ps (bodies/blocks.h): other bits of the same sums. All of
// k is one chain of blocks, whatever add says.
void ck_product_blocks(ck_left a, const float *b, size_t b_strip, float *c, size_t c_row,
                       size_t c_strip, size_t rows, size_t columns, size_t depth, int add, int go_on,
                       const float *bias, int relu, const uint16_t *gate, size_t gate_strip);
// Numbers [rows, columns], (i, j) at from[i * row + j / S * strip + j % S], to nearest even as pairs of columns
// [rows, columns / 2] in strips of pairs, a left side, and as pairs of rows [rows / 2, columns], a right side or the
// transpose of a left one; either may be NULL. Sizes are rounded up: a number alone has a zero beside it.
void ck_round_pairs(const float *from, size_t row, size_t strip, size_t rows, size_t columns,
                    uint32_t *left, size_t left_strip, uint32_t *right, size_t right_strip);
// The transpose [columns, count] of a row-major matrix as pairs of rows.
void ck_pairs_transposed(const float *rows, size_t row_stride, size_t count, size_t columns,
                         uint32_t *strips, size_t strip_stride);
// As ck_fma_loop, of pairs.
double ck_pair_loop(size_t rounds, float *result);
double ck_block_loop(size_t rounds, float *result);  // the same of tiles; 0 operations where there are none
// A thread's tiles stay as the last product shaped them. Without them the system has 8 KiB less to save when it takes the core
// from the thread; the next product shapes them again.
void ck_release_tiles(void);

// Multiply-adds on registers, for the machine's limit: returns how many operations were done and
// leaves a sum that depends on all of them in *result, which holds the factor before.
double ck_fma_loop(size_t rounds, float *result);

// ---- Residual streams: fixed point, value = x * step. Rounding is to nearest even.
void ck_stream_to_float(const int32_t *x, float *out, size_t n, float step);
// x += round(f * inverse_step). Returns how many elements were not finite or left the range
// of Int32; those elements are left as they were.
size_t ck_stream_add(int32_t *x, const float *f, size_t n, float inverse_step);
// x -= round(f * inverse_step): the exact inverse of ck_stream_add.
size_t ck_stream_subtract(int32_t *x, const float *f, size_t n, float inverse_step);

// ---- LayerNorm over rows of `width`: out = (x - mean) * rstd * gain + bias.
// mean and rstd are [rows]; variance is the mean of squared deviations (two passes).
void ck_layernorm_forward(const float *x, size_t x_stride, size_t rows, size_t width,
                          const float *gain, const float *bias, float epsilon, float *out,
                          size_t out_stride, float *mean, float *rstd);
// Adds to dx [rows, width], dgain [width] and dbias [width].
void ck_layernorm_backward(const float *dy, size_t dy_stride, const float *x, size_t x_stride,
                           size_t rows, size_t width, const float *gain, const float *mean,
                           const float *rstd, float *dx, size_t dx_stride, float *dgain,
                           float *dbias);

// ---- Activations. `out` may be `x`; backward writes dx = dy * f'(x), dx may be dy.
void ck_gelu(const float *x, float *out, size_t n);  // x * Phi(x), erf form
void ck_gelu_backward(const float *dy, const float *x, float *dx, size_t n);
void ck_square(const float *x, float *out, size_t n);           // x * x
void ck_square_backward(float *dy, const float *x, size_t n);  // dy *= 2 x

// Turns the pairs (x[i], x[n + i]) by the sum of the angles whose n cosines and then n sines `near` and `far` are, or,
// with `direction` -1 instead of 1, back.
void ck_turn(float *x, size_t n, const float *near, const float *far, float direction);
// The elementary functions that kernels are made of, for tests of their bounds (bodies/math.h): log of
// positive normal numbers, sine and cosine of turn / 2^32 of a full turn.
void ck_exp(const float *x, float *out, size_t n);
void ck_log(const float *x, float *out, size_t n);
void ck_erf(const float *x, float *out, size_t n);
void ck_sine_cosine(const uint32_t *turn, float *sine, float *cosine, size_t n);

// ---- Addressed random numbers: Philox 4x32-10 (Salmon et al. 2011).
// Number i of the stream `key` is word (i & 3) of the block with counter (i >> 2). The 128-bit
// counter's low 64 bits are that number, its high 64 bits are 0; key words and counter words come
// low half first.
void ck_philox(uint64_t key, uint64_t first, uint32_t *out, size_t n);
// One block of the generator itself, for tests against the published vectors.
void ck_philox_block(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
// Inverted dropout in place: number (first + i) < threshold drops x[i], else x[i] *= scale.
void ck_dropout(float *x, size_t n, uint64_t key, uint64_t first, uint32_t threshold, float scale);
// The same for the runs of keys that the rows of scores [rows, keys] see (see ck_run_softmax), addressed by
// positions: list `list` of `lists` draws for a query and a key in a sequence of `length` number
// ((query * length + key) * (lists + 3) / 4 + list / 4) * 4 + list % 4, whole divisions.
void ck_dropout_runs(float *x, size_t rows, size_t keys, const int32_t *first, const int32_t *end,
                     const int32_t *query, const int32_t *key_position, uint64_t length,
                     uint64_t lists, uint64_t list, uint64_t key, uint32_t threshold, float scale);
// Standard normal numbers by Box-Muller; out[i] depends on (key, first + i) only.
void ck_normal(float *out, size_t n, uint64_t key, uint64_t first);

// ---- Rows by index. An index >= limit is padding: gathered as zeros, not scattered.
// dst [rows, width]; row_scale NULL or indexed like the source rows (stride row_scale_stride).
void ck_gather_rows(const float *src, size_t src_stride, const int32_t *index, size_t rows,
                    size_t width, int32_t limit, const float *row_scale, size_t row_scale_stride,
                    float *dst, size_t dst_stride);
// out += weights[i] * src[index[i]], fused, one i after the other: the bits of ck_product with go_on. All rows are there.
void ck_add_weighted_rows(const float *weights, const float *src, size_t src_stride,
                          const int32_t *index, size_t rows, size_t width, float *out);
// dst[index[i]] += src[i]
void ck_scatter_add_rows(float *dst, size_t dst_stride, const int32_t *index, size_t rows,
                         size_t width, int32_t limit, const float *src);

// ---- Attention
// scale[i * scale_stride] = 1 / sqrt(mean(x[i]^2) + 1e-6) / sqrt(width): key = x * scale has unit
// length times 1/sqrt(width), as in Hugging Face's LSHSelfAttention.
void ck_key_scale(const float *x, size_t x_stride, size_t rows, size_t width, float *scale,
                  size_t scale_stride);
// dx[a] += gradient through key[a] = x[a] * scale(x[a]): s * dkey[i] - x[a] * s^3 * (x[a] . dkey[i]), with
// a = index[i] as above, or i where index is NULL.
void ck_key_scale_backward(const float *dkey, size_t dkey_stride, const float *x, size_t x_stride,
                           const int32_t *index, size_t rows, size_t width, int32_t limit,
                           const float *scale, size_t scale_stride, float *dx, size_t dx_stride);
// Scores of a query tile [rows, keys] (dense) become exp(logit - row_max) in place. Key position
// > query position is masked (0), but for those up to `through` (-1: none), which all see; with mask_self, equal
// positions have logit -1e5 instead.
// row_max, row_sum: [rows] of the logits seen here. A row with every key masked gets row_max -1e9
// and row_sum 0.
void ck_masked_softmax(float *scores, size_t rows, size_t keys, const int32_t *query_position,
                       const int32_t *key_position, int32_t through, int mask_self,
                       float *row_max, float *row_sum);
// The same where a row sees a run of keys: row i those from column first[i] to before column end[i], none of them where
// these are equal. With last_resort the last one is the row's own key and has logit -1e5. What lies outside the run becomes
// 0 and leaves every bit alone: the row is summed as if the run were all there is.
void ck_run_softmax(float *scores, size_t rows, size_t keys, const int32_t *first, const int32_t *end,
                    int last_resort, float *row_max, float *row_sum);
// Merges a partial softmax into its rows: out[index[i]] (unnormalised), max and sum per row.
// maximum/sum are indexed like out's rows with stride stat_stride. New rows start at out 0,
// maximum -INFINITY, sum 0. partial: [rows, width] dense.
void ck_merge_rows(float *out, size_t out_stride, float *maximum, float *sum, size_t stat_stride,
                   const int32_t *index, size_t rows, size_t width, int32_t limit,
                   const float *partial, const float *partial_max, const float *partial_sum);
// x[i] /= sum[i * sum_stride]
void ck_normalize_rows(float *x, size_t x_stride, size_t rows, size_t width, const float *sum,
                       size_t sum_stride);
// Gradient of the softmax tile. scores: the raw products again, replaced by the probabilities
// p = exp(logit - maximum) / sum; dp: gradient of the (dropped-out) probabilities, replaced by
// ds = p * (dp - d), 0 where the logit was masked or replaced. maximum, sum, d: [rows] dense.
void ck_masked_softmax_backward(float *scores, float *dp, size_t rows, size_t keys,
                                const int32_t *query_position, const int32_t *key_position,
                                int32_t through, int mask_self, const float *maximum,
                                const float *sum, const float *d);
// The same for runs of keys: 0 outside them.
void ck_run_softmax_backward(float *scores, float *dp, size_t rows, size_t keys,
                             const int32_t *first, const int32_t *end, int last_resort,
                             const float *maximum, const float *sum, const float *d);

// ---- Hashing
// rotated: [rows, sum(factors)/2]. Per factor f the arg-max over [x; -x] of its f/2 columns (first
// one wins ties), combined as sum of argmax * product of the factors before it.
void ck_hash_buckets(const float *rotated, size_t stride, size_t rows, const int32_t *factors,
                     size_t factor_count, int32_t *buckets);

// ---- Random features, a column for each position
void ck_column_maximum(const float *x, size_t x_stride, size_t rows, size_t width, float *out);
// x = exp(min(x - shift[column], top)) + floor, with top <= 88.
void ck_column_exp(float *x, size_t x_stride, size_t rows, size_t width, const float *shift,
                   float top, float floor);
// dy *= x - floor, which is the derivative where x are the exponentials; 0 where these ended at top. sums[j] = those
// of column j.
void ck_column_exp_backward(float *dy, size_t dy_stride, const float *x, size_t x_stride,
                            size_t rows, size_t width, float top, float floor, float *sums);

// ---- Loss
// probabilities become l = their natural logarithms (of 1e-30 where below);
// out = weight * l + logit_weight * logits.
void ck_mix_logits(float *probabilities, float weight, const float *logits, float logit_weight,
                   float *out, size_t n);
// logits [rows, classes]. row_loss[i] = natural-log cross-entropy, 0 where target < 0. With
// gradient != 0 the logits become gradient_scale * (softmax - onehot), 0 rows where target < 0.
void ck_cross_entropy(float *logits, size_t stride, size_t rows, size_t classes,
                      const int32_t *targets, int gradient, float gradient_scale, float *row_loss);

// ---- Optimizer
// g = gradient * gradient_scale; m, v exponential averages; bias corrections are
// 1 - beta^t given as first_correction, second_correction;
// p -= rate * ((m / first_correction) / (sqrt(v / second_correction) + epsilon) + decay * p).
void ck_adam(float *p, const float *gradient, float *m, float *v, size_t n, float gradient_scale,
             float rate, float beta1, float beta2, float epsilon, float decay,
             float first_correction, float second_correction);
void ck_follow(float *average, const float *values, size_t n, float share);  // average += share * (values - average)

#ifdef __cplusplus
}
#endif
