// Elementary functions on vectors. The polynomials are near-minimax fits (iteratively re-weighted
// least squares in double) of the remainder stated beside them, on the reduced range.

// e^x for x <= 88: at most 2 ulp off down to -87, 0 below, NaN for NaN.
CK_INLINE vf exponential_to_88(vf x) {
  // x = n ln 2 + r. Adding 1.5 * 2^23 rounds to the integer n and leaves it in the low bits.
  const vf magic = (vf)0x1.8p23f;
  vf shifted = fused(x, 1.44269504f, magic);
  vf n = shifted - magic;
  // ln 2 in two parts; n times the first is exact.
  vf r = fused(-n, 0.693359375f, x);
  r = fused(n, 2.12194440e-4f, r);
  // (e^r - 1 - r) / r^2
  vf q = fused(r, 0.00138146128f, 0.00836871006f);
  q = fused(r, q, 0.041668389f);
  q = fused(r, q, 0.166665211f);
  q = fused(r, q, 0.49999994f);
  vf p = fused(r * r, q, r);
  // The shift moves n into the exponent and drops the bits of the magic number above it.
  vf power = (vf)(((vi)shifted + 127) << 23);
  vf result = fused(p, power, power);
  return x < -87.0f ? (vf)0.0f : result;
}

// e^x as above, and infinity above 88.
CK_INLINE vf exponential(vf x) {
  return x > 88.0f ? (vf)__builtin_inff() : exponential_to_88(x);
}

// ln x for positive normal x and infinity; NaN for NaN.
CK_INLINE vf logarithm(vf x) {
  // x = 2^n (1 + f) with 1 + f between sqrt(1/2) and sqrt(2).
  vi bits = (vi)x - 0x3f3504f3;
  vf n = __builtin_convertvector(bits >> 23, vf);
  vf f = (vf)((bits & 0x7fffff) + 0x3f3504f3) - 1.0f;
  // (ln(1 + f) - f + f^2 / 2) / f^3
  vf q = fused(f, -0.07631246f, 0.128549173f);
  q = fused(f, q, -0.132078677f);
  q = fused(f, q, 0.141900048f);
  q = fused(f, q, -0.166165248f);
  q = fused(f, q, 0.200016156f);
  q = fused(f, q, -0.25001058f);
  q = fused(f, q, 0.333333284f);
  vf square = f * f;
  vf tail = fused(f * square, q, -0.5f * square);
  tail = fused(n, -2.12194440e-4f, tail);
  vf result = fused(n, 0.693359375f, f + tail);
  return x < (vf)__builtin_inff() ? result : x;
}

// Sine and cosine of `turn` / 2^32 of a full turn.
CK_INLINE void sine_cosine(vu turn, vf *sine, vf *cosine) {
  // The nearest quarter turn, and the angle from it: at most pi / 4.
  vu quarter = (turn + 0x20000000u) >> 30;
  vf x = __builtin_convertvector((vi)(turn - (quarter << 30)), vf) * 1.46291808e-9f;  // 2 pi / 2^32
  vf square = x * x;
  // (sin x - x) / x^3 and (cos x - 1 + x^2 / 2) / x^4, in x^2
  vf s = fused(square, -0.000194956025f, 0.00833197869f);
  s = fused(square, s, -0.166666508f);
  s = fused(square * x, s, x);
  vf c = fused(square, 2.44384155e-5f, -0.00138873677f);
  c = fused(square, c, 0.0416666456f);
  c = fused(square * square, c, fused(-0.5f, square, 1.0f));
  vi swap = (vi)(quarter & 1) != 0;
  vi sine_sign = (vi)((quarter & 2) << 30);
  vi cosine_sign = (vi)(((quarter + 1) & 2) << 30);
  *sine = (vf)((vi)(swap ? c : s) ^ sine_sign);
  *cosine = (vf)((vi)(swap ? s : c) ^ cosine_sign);
}

// erf(x), at most 2e-7 off. Not relative to tiny results: GELU adds it to 1.
CK_INLINE vf error_function(vf x) {
  vf t = absolute(x);
  t = t > 4.0f ? (vf)4.0f : t;  // erf(4) rounds to 1
  // -ln(1 - erf(t)) / t on [0, 4]
  vf q = fused(t, 3.14401841e-5f, -0.00030880238f);
  q = fused(t, q, 0.00103240227f);
  q = fused(t, q, 0.000536932319f);
  q = fused(t, q, -0.0195839591f);
  q = fused(t, q, 0.102919616f);
  q = fused(t, q, 0.636597753f);
  q = fused(t, q, 1.1283803f);
  vf result = 1.0f - exponential_to_88(-t * q);
  return (vf)((vi)result | ((vi)x & (int32_t)0x80000000));
}
