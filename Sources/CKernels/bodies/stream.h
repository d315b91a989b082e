// Fixed-point residual streams. Adding and subtracting the same contribution are exact inverses:
// both round it by the same function and the integers do the rest.

// Round to nearest, ties to even.
CK_INLINE vf rounded(vf v) {
#if CK_LEVEL == 0
  // Without a rounding instruction: adding 2^23 leaves no room for a fraction. From 2^23 on a float
  // has none anyway.
  const vf big = (vf)0x1p23f;
  vf a = absolute(v);
  vf r = a < big ? (a + big) - big : a;
  return (vf)((vi)r | ((vi)v & (int32_t)0x80000000));
#else
  return __builtin_elementwise_roundeven(v);
#endif
}

// One vector of x + sign * round(f * inverse_step); lanes that cannot be done keep x and are
// subtracted (as -1) from *violations.
CK_INLINE vi stream_step(vi x, vf f, float inverse_step, int subtract, vi *violations) {
  vf scaled = f * inverse_step;
  vi representable = absolute(scaled) < (vf)0x1p31f;  // false for NaN
  vi d = __builtin_convertvector(rounded(representable ? scaled : (vf)0.0f), vi);
  vi sum = subtract ? (vi)((vu)x - (vu)d) : (vi)((vu)x + (vu)d);
  // Overflow: operands of equal sign (of differing sign for a difference) whose result differs.
  vi overflow = subtract ? (x ^ d) & (x ^ sum) : (x ^ sum) & (d ^ sum);
  vi bad = (overflow >> 31) | ~representable;  // all ones or all zeros, per lane
  *violations -= bad;
  return (x & bad) | (sum & ~bad);
}

CK_INLINE size_t stream_update(int32_t *x, const float *f, size_t n, float inverse_step,
                               int subtract) {
  size_t count = 0;
  // Blocks, so that a lane's count cannot overflow.
  for (size_t start = 0; start < n; start += (size_t)1 << 30) {
    size_t block = n - start < (size_t)1 << 30 ? n - start : (size_t)1 << 30;
    vi violations = 0;
    CK_EACH(j, m, block, {
      int32_t *p = x + start + j;
      vi result = stream_step(load_int(p, m), load(f + start + j, m), inverse_step, subtract,
                              &violations);
      store_int(p, m, result);
    });
    for (int i = 0; i < CK_WIDTH; i++) count += (size_t)violations[i];
  }
  return count;
}

static void CK(stream_to_float)(const int32_t *x, float *out, size_t n, float step) {
  CK_EACH(j, m, n, {
    store(out + j, m, __builtin_convertvector(load_int(x + j, m), vf) * step);
  });
}

static size_t CK(stream_add)(int32_t *x, const float *f, size_t n, float inverse_step) {
  return stream_update(x, f, n, inverse_step, 0);
}

static size_t CK(stream_subtract)(int32_t *x, const float *f, size_t n, float inverse_step) {
  return stream_update(x, f, n, inverse_step, 1);
}
