// Activations of the feed-forward layer, and the exponential on its own.

static void CK(relu)(const float *x, float *out, size_t n) {
  CK_EACH(j, m, n, {
    vf v = load(x + j, m);
    store(out + j, m, v < 0.0f ? (vf)0.0f : v);  // NaN stays NaN, so that it is seen
  });
}

// Phi(x), the distribution function of the standard normal.
CK_INLINE vf normal_distribution(vf x) {
  return 0.5f * error_function(x * 0.707106781f) + 0.5f;
}

static void CK(gelu)(const float *x, float *out, size_t n) {
  CK_EACH(j, m, n, {
    vf v = load(x + j, m);
    store(out + j, m, v * normal_distribution(v));
  });
}

// Phi(x) + x * phi(x).
static void CK(gelu_backward)(const float *dy, const float *x, float *dx, size_t n) {
  CK_EACH(j, m, n, {
    vf v = load(x + j, m);
    vf density = 0.398942280f * exponential_to_88(-0.5f * v * v);
    store(dx + j, m, load(dy + j, m) * (v * density + normal_distribution(v)));
  });
}

static void CK(exp)(const float *x, float *out, size_t n) {
  CK_EACH(j, m, n, { store(out + j, m, exponential(load(x + j, m))); });
}
