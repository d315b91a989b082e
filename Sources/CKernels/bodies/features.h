// Random features of attention without a softmax, a column for each position.

static void CK(column_maximum)(const float *x, size_t x_stride, size_t rows, size_t width,
                               float *out) {
  CK_EACH(j, m, width, {
    vf largest = load(x + j, m);
    for (size_t i = 1; i < rows; i++) largest = maximum_of(load(x + i * x_stride + j, m), largest);
    store(out + j, m, largest);
  });
}

static void CK(column_exp)(float *x, size_t x_stride, size_t rows, size_t width,
                           const float *shift, float top, float floor) {
  CK_EACH(j, m, width, {
    const vf less = load(shift + j, m);
    for (size_t i = 0; i < rows; i++) {
      vf e = load(x + i * x_stride + j, m) - less;
      e = e > top ? (vf)top : e;
      store(x + i * x_stride + j, m, exponential_to_88(e) + floor);
    }
  });
}

static void CK(column_exp_backward)(float *dy, size_t dy_stride, const float *x, size_t x_stride,
                                    size_t rows, size_t width, float top, float floor,
                                    float *sums) {
  const vf limit = exponential_to_88((vf)top) + floor;
  CK_EACH(j, m, width, {
    vf sum = 0;
    for (size_t i = 0; i < rows; i++) {
      const vf e = load(x + i * x_stride + j, m);
      const vf d = load(dy + i * dy_stride + j, m) * (e - floor);
      const vf kept = e >= limit ? (vf)0.0f : d;
      store(dy + i * dy_stride + j, m, kept);
      sum += kept;
    }
    store(sums + j, m, sum);
  });
}
