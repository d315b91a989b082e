#include "KernelGolden.h"

#include <stdlib.h>  // malloc
#include <string.h>  // memcpy

#include "CKernels.h"

// Where the digests go, and the state of the numbers made up for a case.
typedef struct {
  void (*each)(const char *, uint64_t, void *);
  void *context;
  uint64_t dice;
} golden;

static uint64_t next_number(golden *g) {  // SplitMix64
  g->dice += 0x9E3779B97F4A7C15u;
  uint64_t z = g->dice;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

static void *memory(size_t bytes) {
  void *p = malloc(bytes);
  if (!p) abort();
  return p;
}

// n floats between -limit and limit; made by operations that are exact or rounded once.
static float *floats(golden *g, size_t n, float limit) {
  float *x = memory(n * sizeof *x);
  for (size_t i = 0; i < n; i++) {
    x[i] = (float)((int64_t)(next_number(g) >> 40) - (1 << 23)) * 0x1p-23f * limit;
  }
  return x;
}

// n integers from 0 to limit - 1.
static int32_t *integers(golden *g, size_t n, uint64_t limit) {
  int32_t *x = memory(n * sizeof *x);
  for (size_t i = 0; i < n; i++) x[i] = (int32_t)(next_number(g) % limit);
  return x;
}

// FNV-1a over words. Which NaN a NaN is may differ between processors; that it is one may not.
static uint64_t digest_words(uint64_t digest, const void *at, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint32_t word;
    memcpy(&word, (const char *)at + 4 * i, 4);
    if ((word & 0x7fffffffu) > 0x7f800000u) word = 0x7fc00000u;
    digest = (digest ^ word) * 0x100000001b3u;
  }
  return digest;
}

static const uint64_t digest_start = 0xcbf29ce484222325u;

static void give(golden *g, const char *name, uint64_t digest) { g->each(name, digest, g->context); }

// One result as a case.
static void give_words(golden *g, const char *name, const void *at, size_t n) {
  give(g, name, digest_words(digest_start, at, n));
}

// Lengths around the vector widths and the steps of four vectors.
static const size_t sizes[] = {1, 3, 7, 16, 33, 64, 100, 257};
enum { size_count = sizeof sizes / sizeof *sizes, most = 257 };

static void vectors(golden *g) {
  uint64_t add = digest_start, scale = add, squares = add, columns = add, dots = add;
  uint64_t weighted = add, product = add, added = add, halved = add, widened = add;
  for (size_t s = 0; s < size_count; s++) {
    const size_t n = sizes[s];
    float *x = floats(g, 5 * n, 3), *y = floats(g, 5 * n, 2), *out = floats(g, n, 1);
    const double sum = ck_sum_squares(x, 5 * n);
    squares = digest_words(squares, &sum, 2);
    float of_rows[5];
    ck_row_dot(x, n, y, n, 5, n, of_rows);
    // The sums of columns go on from as many of them as there are columns.
    const size_t kept = n < 5 ? n : 5;
    memcpy(out, of_rows, kept * sizeof *out);
    dots = digest_words(dots, of_rows, kept);
    ck_column_sum(x, n, 5, n, out);
    columns = digest_words(columns, out, n);
    double sums[most];
    for (size_t i = 0; i < n; i++) sums[i] = out[i];
    ck_add_squares(x, sums, n);
    added = digest_words(added, sums, 2 * n);
    ck_weighted_sum(x, 0.3f, y, -1.7f, out, n);
    weighted = digest_words(weighted, out, n);
    ck_multiply(x, y, 0.7f, out, n);
    product = digest_words(product, out, n);
    uint16_t halves[4 * most];
    ck_halves(x, halves, 4 * n);
    halved = digest_words(halved, halves, 2 * n);
    ck_widen(halves, out, n);
    widened = digest_words(widened, out, n);
    ck_add(x, y, 5 * n);
    add = digest_words(add, x, 5 * n);
    ck_scale(y, 5 * n, 1.7f);
    scale = digest_words(scale, y, 5 * n);
    free(x), free(y), free(out);
  }
  give(g, "add", add);
  give(g, "scale", scale);
  give(g, "weighted_sum", weighted);
  give(g, "multiply", product);
  give(g, "halves", halved);
  give(g, "widen", widened);
  give(g, "sum_squares", squares);
  give(g, "add_squares", added);
  give(g, "column_sum", columns);
  give(g, "row_dot", dots);
}

static void functions(golden *g) {
  enum { n = 5003 };
  float *x = floats(g, n, 100), *small = floats(g, n, 6), *dy = floats(g, n, 2);
  float *out = memory(n * sizeof *out), *other = memory(n * sizeof *other);
  const uint32_t special[] = {0x7fc00000u, 0x7f800000u, 0xff800000u, 0, 0x80000000u, 1, 0x42b00000u};
  memcpy(x, special, sizeof special);
  memcpy(small, special, sizeof special);
  ck_exp(x, out, n);
  give_words(g, "exp", out, n);
  ck_erf(small, out, n);
  give_words(g, "erf", out, n);
  ck_gelu(small, out, n);
  give_words(g, "gelu", out, n);
  ck_gelu_backward(dy, small, out, n);
  give_words(g, "gelu_backward", out, n);
  ck_square(x, out, n);
  give_words(g, "square", out, n);
  memcpy(out, dy, n * sizeof *out);
  ck_square_backward(out, x, n);
  give_words(g, "square_backward", out, n);
  memcpy(out, dy, n * sizeof *out);
  ck_turn(out, 1201, small, small + 2402, -1.0f);
  give_words(g, "turn", out, n);
  for (size_t i = 0; i < n; i++) out[i] = x[i] < 0 ? -x[i] : x[i] + 0x1p-20f;
  ck_log(out, out, n);
  give_words(g, "log", out, n);
  uint32_t *turn = (uint32_t *)integers(g, n, (uint64_t)1 << 32);
  ck_sine_cosine(turn, out, other, n);
  give(g, "sine_cosine", digest_words(digest_words(digest_start, out, n), other, n));
  free(x), free(small), free(dy), free(out), free(other), free(turn);

  uint64_t wide = digest_start;
  for (int i = 0; i < 2000; i++) {
    const double a = (double)((int64_t)(next_number(g) >> 11) - ((int64_t)1 << 52)) * 0x1p-52;
    const double value[] = {ck_double_exp(700 * a),
                            ck_double_log(a < 0 ? -a : a * 1e6),
                            ck_double_pow(a < 0 ? -a : a + 1, 40 * a),
                            ck_double_sin(1e5 * a),
                            ck_double_cos(1e5 * a)};
    wide = digest_words(wide, value, 10);
  }
  give(g, "double functions", wide);
}

static void random_numbers(golden *g) {
  enum { n = 1031 };
  uint32_t words[n];
  ck_philox(0x0123456789abcdefu, 1001, words, n);
  give_words(g, "philox", words, n);
  float *x = floats(g, n, 1);
  ck_dropout(x, n, 99, 7, 1u << 30, 1.25f);
  give_words(g, "dropout", x, n);
  ck_normal(x, n, 7, 1001);
  give_words(g, "normal", x, n);
  free(x);
}

static void streams(golden *g) {
  enum { n = 1031 };
  int32_t *x = integers(g, n, (uint64_t)1 << 32);
  float *f = floats(g, n, 3000), *out = memory(n * sizeof *out);
  f[3] = __builtin_nanf(""), f[4] = __builtin_inff(), f[5] = 0.5f * 0x1p-18f, f[6] = -1.5f * 0x1p-18f;
  uint64_t digest = ck_stream_add(x, f, n, 0x1p18f);
  give(g, "stream_add", digest_words(digest, x, n));
  digest = ck_stream_subtract(x, f + 1, n - 1, 0x1p19f);
  give(g, "stream_subtract", digest_words(digest, x, n));
  ck_stream_to_float(x, out, n, 0x1p-18f);
  give_words(g, "stream_to_float", out, n);
  free(x), free(f), free(out);
}

static void normalisation(golden *g) {
  uint64_t forward = digest_start, backward = forward;
  for (size_t s = 0; s < size_count; s++) {
    const size_t width = sizes[s], rows = 11, n = rows * width;
    float *x = floats(g, n, 2), *gain = floats(g, width, 1), *bias = floats(g, width, 1);
    float *dy = floats(g, n, 1), *out = memory(n * sizeof *out), *dx = floats(g, n, 1);
    float statistics[2][11];
    ck_layernorm_forward(x, width, rows, width, gain, bias, 1e-5f, out, width, statistics[0],
                         statistics[1]);
    forward = digest_words(digest_words(forward, out, n), statistics, 2 * rows);
    ck_layernorm_backward(dy, width, x, width, rows, width, gain, statistics[0], statistics[1], dx,
                          width, gain, bias);
    backward = digest_words(backward, dx, n);
    backward = digest_words(digest_words(backward, gain, width), bias, width);
    free(x), free(gain), free(bias), free(dy), free(out), free(dx);
  }
  give(g, "layernorm_forward", forward);
  give(g, "layernorm_backward", backward);
}

static void rows_by_index(golden *g) {
  uint64_t gather = digest_start, scatter = gather, scales = gather, slopes = gather, merged = gather,
           weighted = gather;
  for (size_t s = 0; s < size_count; s++) {
    const size_t width = sizes[s], rows = 13;
    int32_t index[13];
    for (size_t i = 0; i < rows; i++) index[i] = (int32_t)(i * 5 % 14);  // 13 is padding
    float *x = floats(g, rows * width, 2), *y = floats(g, rows * width, 1);
    float *out = floats(g, rows * width, 1), scale[13];
    ck_key_scale(x, width, rows, width, scale, 1);
    scales = digest_words(scales, scale, rows);
    ck_gather_rows(x, width, index, rows, width, (int32_t)rows, scale, 1, out, width);
    gather = digest_words(gather, out, rows * width);
    ck_scatter_add_rows(out, width, index, rows, width, (int32_t)rows, y);
    scatter = digest_words(scatter, out, rows * width);
    ck_key_scale_backward(y, width, x, width, index, rows, width, (int32_t)rows, scale, 1, out,
                          width);
    slopes = digest_words(slopes, out, rows * width);
    float *statistics = floats(g, 4 * rows, 5);
    ck_merge_rows(out, width, statistics, statistics + rows, 1, index, rows, width, (int32_t)rows, y,
                  statistics + 2 * rows, statistics + 3 * rows);
    ck_normalize_rows(out, width, rows, width, scale, 1);
    merged = digest_words(digest_words(merged, out, rows * width), statistics, 2 * rows);
    int32_t there[13];
    for (size_t i = 0; i < rows; i++) there[i] = (int32_t)(i * 5 % 13);
    ck_add_weighted_rows(statistics, x, width, there, rows, width, y);
    weighted = digest_words(weighted, y, width);
    free(x), free(y), free(out), free(statistics);
  }
  give(g, "key_scale", scales);
  give(g, "gather_rows", gather);
  give(g, "scatter_add_rows", scatter);
  give(g, "key_scale_backward", slopes);
  give(g, "merge_rows, normalize_rows", merged);
  give(g, "add_weighted_rows", weighted);
}

static void features(golden *g) {
  uint64_t forward = digest_start, backward = forward;
  for (size_t s = 0; s < size_count; s++) {
    const size_t width = sizes[s], rows = 13;
    float *x = floats(g, rows * width, 20), *dy = floats(g, rows * width, 1);
    float *most = floats(g, width, 1), *sums = floats(g, width, 1);
    ck_column_maximum(x, width, rows, width, most);
    for (size_t j = 0; j < width; j += 2) most[j] = 0;
    ck_column_exp(x, width, rows, width, most, 12, 1e-6f);
    forward = digest_words(digest_words(forward, most, width), x, rows * width);
    ck_column_exp_backward(dy, width, x, width, rows, width, 12, 1e-6f, sums);
    backward = digest_words(digest_words(backward, dy, rows * width), sums, width);
    free(x), free(dy), free(most), free(sums);
  }
  give(g, "column_maximum, column_exp", forward);
  give(g, "column_exp_backward", backward);
}

static void softmax_and_loss(golden *g) {
  uint64_t forward = digest_start, backward = forward, loss = forward;
  for (size_t s = 0; s < size_count; s++) {
    const size_t keys = sizes[s], rows = 11, n = rows * keys;
    int32_t *key = integers(g, keys, 40), *query = integers(g, rows, 40);
    float *scores = floats(g, n, 8), *again = memory(n * sizeof *again), *dp = floats(g, n, 1);
    float top[11], sum[11];
    memcpy(again, scores, n * sizeof *again);
    ck_masked_softmax(scores, rows, keys, query, key, -1, (int)(s & 1), top, sum);
    forward = digest_words(digest_words(digest_words(forward, scores, n), top, rows), sum, rows);
    ck_masked_softmax_backward(again, dp, rows, keys, query, key, -1, (int)(s & 1), top, sum,
                               scores);
    backward = digest_words(digest_words(backward, again, n), dp, n);
    int32_t *targets = integers(g, rows, keys);
    targets[rows - 1] = -1;
    float *logits = floats(g, n, 20);
    ck_cross_entropy(logits, keys, rows, keys, targets, 1, 0.25f, sum);
    loss = digest_words(digest_words(loss, logits, n), sum, rows);
    free(key), free(query), free(scores), free(again), free(dp), free(targets), free(logits);
  }
  give(g, "masked_softmax", forward);
  give(g, "masked_softmax_backward", backward);
  give(g, "cross_entropy", loss);
}

static void mixtures(golden *g) {
  uint64_t digest = digest_start;
  for (size_t s = 0; s < size_count; s++) {
    const size_t n = sizes[s];
    float *shares = floats(g, n, 1), *logits = floats(g, n, 20), *mixed = floats(g, n, 1);
    for (size_t i = 0; i < n; i++) shares[i] *= shares[i];
    shares[0] = 0.0f;
    ck_mix_logits(shares, 0.7f, logits, 0.3f, mixed, n);
    digest = digest_words(digest_words(digest, shares, n), mixed, n);
    free(shares), free(logits), free(mixed);
  }
  give(g, "mix_logits", digest);
}

static void runs_of_keys(golden *g) {
  uint64_t forward = digest_start, backward = forward, dropped = forward, all = forward;
  for (size_t s = 0; s < size_count; s++) {
    const size_t rows = 11, before = sizes[s], keys = before + rows, n = rows * keys;
    int32_t *first = integers(g, rows, (int32_t)before), *query = integers(g, rows, 1 << 20);
    int32_t *key = integers(g, keys, 1 << 20), end[11];
    float *scores = floats(g, n, 8), *again = memory(n * sizeof *again), *dp = floats(g, n, 1);
    float top[11], sum[11];
    for (size_t i = 0; i < rows; i++) end[i] = (int32_t)(before + i + 1);
    memcpy(again, scores, n * sizeof *again);
    ck_run_softmax(scores, rows, keys, first, end, 1, top, sum);
    forward = digest_words(digest_words(digest_words(forward, scores, n), top, rows), sum, rows);
    ck_run_softmax_backward(again, dp, rows, keys, first, end, 1, top, sum, scores);
    backward = digest_words(digest_words(backward, again, n), dp, n);
    ck_dropout_runs(dp, rows, keys, first, end, query, key, 1 << 20, 6, s % 6, 99, 1u << 30, 1.25f);
    dropped = digest_words(dropped, dp, n);
    // Runs whose last key is like the others, and one of none.
    end[10] = first[10];
    ck_run_softmax(scores, rows, keys, first, end, 0, top, sum);
    all = digest_words(digest_words(digest_words(all, scores, n), top, rows), sum, rows);
    ck_run_softmax_backward(again, dp, rows, keys, first, end, 0, top, sum, scores);
    all = digest_words(digest_words(all, again, n), dp, n);
    free(first), free(query), free(key), free(scores), free(again), free(dp);
  }
  give(g, "run_softmax", forward);
  give(g, "run_softmax_backward", backward);
  give(g, "dropout_runs", dropped);
  give(g, "run_softmax, no last resort", all);
}

static void hashing(golden *g) {
  enum { rows = 301 };
  const int32_t factors[] = {8, 30};
  float *rotated = floats(g, rows * 19, 1);
  int32_t buckets[rows];
  ck_hash_buckets(rotated, 19, rows, factors, 2, buckets);
  give_words(g, "hash_buckets", buckets, rows);
  free(rotated);
}

static void optimizer(golden *g) {
  enum { n = 1031 };
  float *p = floats(g, n, 1), *gradient = floats(g, n, 1), *m = floats(g, n, 1), *v = floats(g, n, 1);
  for (size_t i = 0; i < n; i++) v[i] = v[i] < 0 ? -v[i] : v[i];
  ck_adam(p, gradient, m, v, n, 0.25f, 1e-3f, 0.9f, 0.98f, 1e-9f, 0.1f, 0.19f, 0.04f);
  give(g, "adam", digest_words(digest_words(digest_words(digest_start, p, n), m, n), v, n));
  ck_follow(m, p, n, 0.01f);
  give_words(g, "follow", m, n);
  free(p), free(gradient), free(m), free(v);
}

static size_t up_to_strips(size_t n) { return (n + 31) / 32 * 32; }

static void products(golden *g) {
  uint64_t packing = digest_start, plain = packing, strips = packing, turned = packing, gated = packing,
           chained = packing;
  const size_t shapes[][3] = {{1, 1, 1}, {7, 5, 3}, {13, 40, 33}, {64, 96, 300}, {70, 33, 600}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    const size_t rows = shapes[s][0], columns = shapes[s][1], depth = shapes[s][2];
    float *a = floats(g, rows * depth, 2), *b = floats(g, depth * columns, 2);
    float *right = floats(g, depth * up_to_strips(columns), 1), *bias = floats(g, columns, 1);
    float *left = floats(g, rows * up_to_strips(depth), 1);
    float *across = floats(g, depth * up_to_strips(rows), 1);
    float *gate = floats(g, rows * up_to_strips(columns), 1), *c = floats(g, rows * columns, 1);
    float *c_strips = memory(rows * up_to_strips(columns) * sizeof *c_strips);
    memset(c_strips, 0, rows * up_to_strips(columns) * sizeof *c_strips);
    ck_strips_from_rows(b, columns, depth, columns, right, depth * 32);
    ck_strips_from_rows(a, depth, rows, depth, left, rows * 32);
    ck_strips_transposed(a, depth, rows, depth, across, depth * 32);
    for (size_t j = 0; j < columns; j++) {
      for (size_t p = 0; p < depth; p++) {
        packing = digest_words(packing, right + j / 32 * depth * 32 + p * 32 + j % 32, 1);
      }
    }
    const ck_left of_rows = {a, 32 * depth, depth, 32, 1}, of_strips = {left, 1024, 32, rows * 32, 1};
    const ck_left transposed = {across, depth * 32, 1, 1024, 32};
    ck_product(of_rows, right, depth * 32, c, columns, 32, rows, columns, depth, 0, 0, NULL, 0, NULL, 0);
    plain = digest_words(plain, c, rows * columns);
    ck_product(of_strips, right, depth * 32, c, columns, 32, rows, columns, depth, 1, 0, bias, 0, NULL, 0);
    strips = digest_words(strips, c, rows * columns);
    ck_product(transposed, right, depth * 32, c, columns, 32, rows, columns, depth, 1, 0, NULL, 0, NULL, 0);
    turned = digest_words(turned, c, rows * columns);
    ck_product(of_rows, right, depth * 32, c_strips, 32, rows * 32, rows, columns, depth, 0, 0, bias, 1,
               gate, rows * 32);
    gated = digest_words(gated, c_strips, rows * up_to_strips(columns));
    ck_product(of_rows, right, depth * 32, c, columns, 32, rows, columns, depth, 0, 1, NULL, 0, NULL, 0);
    chained = digest_words(chained, c, rows * columns);
    free(a), free(b), free(right), free(bias), free(left), free(across), free(gate), free(c);
    free(c_strips);
  }
  give(g, "strips", packing);
  give(g, "product, rows", plain);
  give(g, "product, strips", strips);
  give(g, "product, transposed", turned);
  give(g, "product, gated", gated);
  give(g, "product, chained", chained);
}

static void pairs(golden *g) {
  uint64_t rounding = digest_start, plain = rounding, turned = rounding, gated = rounding;
  uint64_t blocks = rounding;
  const size_t shapes[][3] = {{1, 1, 1}, {7, 5, 3}, {13, 40, 33}, {64, 96, 300}, {70, 33, 1200}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    const size_t rows = shapes[s][0], columns = shapes[s][1], depth = shapes[s][2];
    const size_t count = (depth + 1) / 2, row_pairs = (rows + 1) / 2;
    float *a = floats(g, rows * depth, 2), *b = floats(g, depth * columns, 2);
    float *bias = floats(g, columns, 1), *wanted = floats(g, rows * columns, 1);
    float *c = floats(g, rows * columns, 1), *d = floats(g, depth * columns, 1);
    uint32_t *left = memory(rows * up_to_strips(count) * 4);
    uint32_t *right = memory(count * up_to_strips(columns) * 4);
    uint32_t *across = memory(row_pairs * up_to_strips(depth) * 4);
    uint32_t *with = memory(row_pairs * up_to_strips(columns) * 4);
    uint32_t *gate = memory(rows * up_to_strips((columns + 1) / 2) * 4);
    ck_round_pairs(a, depth, 32, rows, depth, left, rows * 32, across, row_pairs * 32);
    ck_round_pairs(b, columns, 32, depth, columns, NULL, 0, right, count * 32);
    ck_round_pairs(wanted, columns, 32, rows, columns, gate, rows * 32, with, row_pairs * 32);
    for (size_t j = 0; j < columns; j++) {
      for (size_t p = 0; p < count; p++) {
        rounding = digest_words(rounding, right + j / 32 * count * 32 + p * 32 + j % 32, 1);
      }
    }
    const ck_left of_strips = {(const float *)left, 1024, 32, rows * 32, 1};
    const ck_left transposed = {(const float *)across, row_pairs * 32, 1, 1024, 32};
    ck_product_pairs(of_strips, (const float *)right, count * 32, c, columns, 32, rows, columns, count,
                     1, 0, NULL, 0, NULL, 0);
    plain = digest_words(plain, c, rows * columns);
    ck_product_pairs(transposed, (const float *)with, row_pairs * 32, d, columns, 32, depth, columns,
                     row_pairs, 0, 1, NULL, 0, NULL, 0);
    turned = digest_words(turned, d, depth * columns);
    ck_product_pairs(of_strips, (const float *)right, count * 32, c, columns, 32, rows, columns, count,
                     0, 0, bias, 1, (const uint16_t *)gate, rows * 32);
    gated = digest_words(gated, c, rows * columns);
    ck_product_blocks(of_strips, (const float *)right, count * 32, c, columns, 32, rows, columns, count,
                      1, 0, bias, 0, NULL, 0);
    blocks = digest_words(blocks, c, rows * columns);
    ck_product_blocks(transposed, (const float *)with, row_pairs * 32, d, columns, 32, depth, columns,
                      row_pairs, 0, 1, NULL, 0, NULL, 0);
    blocks = digest_words(blocks, d, depth * columns);
    free(a), free(b), free(bias), free(wanted), free(c), free(d);
    free(left), free(right), free(across), free(with), free(gate);
  }
  give(g, "bf16 pairs", rounding);
  give(g, "bf16 product", plain);
  give(g, "bf16 product, transposed", turned);
  give(g, "bf16 product, gated", gated);
  give(g, "bf16 product, blocks", blocks);
}

void kernel_golden(void (*each)(const char *name, uint64_t digest, void *context), void *context) {
  void (*const cases[])(golden *) = {vectors,       functions,        random_numbers, streams, normalisation,
                                     rows_by_index, softmax_and_loss, hashing,        optimizer, products,
                                     runs_of_keys,  mixtures,         pairs,          features};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    golden g = {each, context, i};
    cases[i](&g);
  }
}
