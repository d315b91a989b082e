// Activations of the feed-forward layer, and elementary functions on their own.

// Phi(x), the distribution function of the standard normal.
CK_INLINE vf normal_distribution(vf x) {
  return fused(0.5f, error_function(x * 0.707106781f), 0.5f);
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
    store(dx + j, m, load(dy + j, m) * fused(v, density, normal_distribution(v)));
  });
}

// The functions of math.h on their own.

static void CK(exp)(const float *x, float *out, size_t n) {
  CK_EACH(j, m, n, { store(out + j, m, exponential(load(x + j, m))); });
}

static void CK(log)(const float *x, float *out, size_t n) {
  CK_EACH(j, m, n, { store(out + j, m, logarithm(load(x + j, m))); });
}

static void CK(erf)(const float *x, float *out, size_t n) {
  CK_EACH(j, m, n, { store(out + j, m, error_function(load(x + j, m))); });
}

static void CK(sine_cosine)(const uint32_t *turn, float *sine, float *cosine, size_t n) {
  CK_EACH(j, m, n, {
    vf s, c;
    sine_cosine((vu)load(turn + j, m), &s, &c);
    store(sine + j, m, s);
    store(cosine + j, m, c);
  });
}
