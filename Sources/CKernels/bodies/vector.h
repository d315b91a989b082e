// Sums, products and biases over vectors and rows.

static void CK(add)(float *x, const float *y, size_t n) {
  CK_EACH(j, m, n, { store(x + j, m, load(x + j, m) + load(y + j, m)); });
}

static void CK(scale)(float *x, size_t n, float s) {
  CK_EACH(j, m, n, { store(x + j, m, load(x + j, m) * s); });
}

static void CK(weighted_sum)(const float *x, float a, const float *y, float b, float *out,
                             size_t n) {
  CK_EACH(j, m, n, { store(out + j, m, fused(a, load(x + j, m), b * load(y + j, m))); });
}

static void CK(multiply)(const float *x, const float *y, float factor, float *out, size_t n) {
  CK_EACH(j, m, n, { store(out + j, m, load(x + j, m) * load(y + j, m) * factor); });
}

static void CK(halves)(const float *x, uint16_t *out, size_t n) {
  CK_EACH(j, m, n, {
    const vu bits = (vu)load(x + j, m);
    const vu nearest = bits + 0x7fffu + ((bits >> 16) & 1u);
    const vu chosen = (bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : nearest;
    const vh halves = __builtin_convertvector(chosen >> 16, vh);
    memcpy(out + j, &halves, m * sizeof *out);
  });
}

static void CK(widen)(const uint16_t *x, float *out, size_t n) {
  CK_EACH(j, m, n, {
    vh halves = 0;
    memcpy(&halves, x + j, m * sizeof *x);
    store(out + j, m, (vf)(__builtin_convertvector(halves, vu) << 16));
  });
}

static void CK(add_squares)(const float *x, double *sums, size_t n) {
  CK_EACH(j, m, n, {
    const vf v = load(x + j, m);
    for (size_t i = 0; i < m; i++) sums[j + i] += (double)v[i] * v[i];
  });
}

static double CK(sum_squares)(const float *x, size_t n) {
  vd sum[4] = {0};
  CK_EACH4(j, m, k, n, {
    vd v = __builtin_convertvector(load(x + j, m), vd);
    sum[k] += v * v;  // squares of floats are exact in double: nothing to fuse
  });
  const vd total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  double result;
  CK_FOLD(result, total, CK_PLUS);
  return result;
}

// Rows are added one after the other, so a caller may cut them into several calls.
static void CK(column_sum)(const float *x, size_t x_stride, size_t rows, size_t width,
                           float *out) {
  CK_EACH(j, m, width, {
    vf sum = load(out + j, m);
    for (size_t i = 0; i < rows; i++) sum += load(x + i * x_stride + j, m);
    store(out + j, m, sum);
  });
}

static void CK(row_dot)(const float *a, size_t a_stride, const float *b, size_t b_stride,
                        size_t rows, size_t width, float *out) {
  for (size_t i = 0; i < rows; i++) {
    out[i] = row_product(a + i * a_stride, b + i * b_stride, width);
  }
}
