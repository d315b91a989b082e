// Rows fetched and returned by index.

CK_INLINE int is_padding(int32_t index, int32_t limit) {
  return (uint32_t)index >= (uint32_t)limit;  // a negative index is padding too
}

// Rows in bucket order lie anywhere, so the processor cannot foresee them; asking some rows ahead keeps
// many cache misses in flight.
CK_INLINE void fetch_ahead(const float *base, size_t stride, const int32_t *index, size_t i,
                           size_t rows, size_t width, int32_t limit) {
  const size_t ahead = i + 8;
  if (ahead >= rows || is_padding(index[ahead], limit)) return;
  const float *row = base + (size_t)index[ahead] * stride;
  for (size_t j = 0; j < width; j += 16) __builtin_prefetch(row + j);
}

static void CK(gather_rows)(const float *src, size_t src_stride, const int32_t *index, size_t rows,
                            size_t width, int32_t limit, const float *row_scale,
                            size_t row_scale_stride, float *dst, size_t dst_stride) {
  for (size_t i = 0; i < rows; i++) {
    float *to = dst + i * dst_stride;
    fetch_ahead(src, src_stride, index, i, rows, width, limit);
    if (is_padding(index[i], limit)) {
      memset(to, 0, width * sizeof(float));
      continue;
    }
    const size_t at = (size_t)index[i];
    const float *from = src + at * src_stride;
    const float scale = row_scale ? row_scale[at * row_scale_stride] : 1.0f;
    CK_EACH(j, m, width, { store(to + j, m, load(from + j, m) * scale); });
  }
}

static void CK(add_weighted_rows)(const float *weights, const float *src, size_t src_stride,
                                  const int32_t *index, size_t rows, size_t width, float *out) {
  size_t j = 0;
  // Several sums at once: each waits for itself alone.
  for (; j + 4 * CK_REGISTER <= width; j += 4 * CK_REGISTER) {
    rf sum[4];
    for (int q = 0; q < 4; q++) sum[q] = load_register(out + j + q * CK_REGISTER, CK_REGISTER);
    for (size_t i = 0; i < rows; i++) {
      const float *from = src + (size_t)index[i] * src_stride + j;
      if (j == 0) fetch_ahead(src, src_stride, index, i, rows, width, INT32_MAX);
      const rf weight = (rf)weights[i];
      for (int q = 0; q < 4; q++) {
        sum[q] = fused_register(weight, load_register(from + q * CK_REGISTER, CK_REGISTER), sum[q]);
      }
    }
    for (int q = 0; q < 4; q++) store_register(out + j + q * CK_REGISTER, CK_REGISTER, sum[q]);
  }
  for (; j < width; j += CK_REGISTER) {
    const size_t m = width - j < CK_REGISTER ? width - j : CK_REGISTER;
    rf sum = load_register(out + j, m);
    for (size_t i = 0; i < rows; i++) {
      sum = fused_register((rf)weights[i],
                           load_register(src + (size_t)index[i] * src_stride + j, m), sum);
    }
    store_register(out + j, m, sum);
  }
}

static void CK(scatter_add_rows)(float *dst, size_t dst_stride, const int32_t *index, size_t rows,
                                 size_t width, int32_t limit, const float *src) {
  for (size_t i = 0; i < rows; i++) {
    fetch_ahead(dst, dst_stride, index, i, rows, width, limit);
    if (is_padding(index[i], limit)) continue;
    CK(add)(dst + (size_t)index[i] * dst_stride, src + i * width, width);
  }
}

// Keys of unit length times 1 / sqrt(width).

static void CK(key_scale)(const float *x, size_t x_stride, size_t rows, size_t width, float *scale,
                          size_t scale_stride) {
  for (size_t i = 0; i < rows; i++) {
    const float *row = x + i * x_stride;
    float mean = row_product(row, row, width) / (float)width;
    scale[i * scale_stride] = 1.0f / __builtin_sqrtf((mean + 1e-6f) * (float)width);
  }
}

static void CK(key_scale_backward)(const float *dkey, size_t dkey_stride, const float *x,
                                   size_t x_stride, const int32_t *index, size_t rows,
                                   size_t width, int32_t limit, const float *scale,
                                   size_t scale_stride, float *dx, size_t dx_stride) {
  for (size_t i = 0; i < rows; i++) {
    if (index) {
      fetch_ahead(dx, dx_stride, index, i, rows, width, limit);
      if (is_padding(index[i], limit)) continue;
    }
    const size_t at = index ? (size_t)index[i] : i;
    const float *dkey_row = dkey + i * dkey_stride;
    const float *row = x + at * x_stride;
    float *dx_row = dx + at * dx_stride;
    const float s = scale[at * scale_stride];
    const float along = s * s * s * row_product(row, dkey_row, width);
    CK_EACH(j, m, width, {
      vf d = fused(load(dkey_row + j, m), s, load(dx_row + j, m));
      store(dx_row + j, m, fused(-load(row + j, m), along, d));
    });
  }
}
