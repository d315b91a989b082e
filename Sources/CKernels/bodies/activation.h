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

static void CK(square)(const float *x, float *out, size_t n) {
  CK_EACH(j, m, n, {
    vf v = load(x + j, m);
    store(out + j, m, v * v);
  });
}

static void CK(square_backward)(float *dy, const float *x, size_t n) {
  CK_EACH(j, m, n, { store(dy + j, m, load(dy + j, m) * (2.0f * load(x + j, m))); });
}

// Rotary positions: cosine and sine of the sum of two angles, then the rotation.
static void CK(turn)(float *x, size_t n, const float *near, const float *far, float direction) {
  CK_EACH(j, m, n, {
    vf c1 = load(near + j, m), s1 = load(near + n + j, m);
    vf c2 = load(far + j, m), s2 = load(far + n + j, m);
    vf c = fused(c1, c2, -(s1 * s2)), s = direction * fused(s1, c2, c1 * s2);
    vf a = load(x + j, m), b = load(x + n + j, m);
    store(x + j, m, fused(a, c, -(b * s)));
    store(x + n + j, m, fused(b, c, a * s));
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
