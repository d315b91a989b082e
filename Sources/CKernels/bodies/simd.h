// The vectors the kernels are written in, by clang's vector extension: `vf` and its kin of 16 lanes at
// every level. Where a processor's registers are narrower (CK_REGISTER lanes) the compiler takes several
// for one vector, so that sums over lanes have the same order everywhere.
//
// Three rules make the bits independent of the processor, of how a caller cuts its data and of memory
// alignment:
// 1. The last lanes of a row run through the same vector code as the rest, on a vector whose
//    unused lanes are zero. There is no separate scalar remainder loop.
// 2. A multiply-add is fused where `fused` is written and nowhere else, and no sum may be reordered by
//    the compiler.
// 3. Every function of a number is written out below (math.h) or exact by the standard (sqrt, division,
//    conversions).
#include <string.h>  // memcpy, the way to load and store without alignment

#pragma STDC FP_CONTRACT OFF
// All functions with vectors for arguments are inlined, so there is no calling convention to warn of.
#pragma clang diagnostic ignored "-Wpsabi"

#define CK_INLINE static inline __attribute__((always_inline))
#define CK_WIDTH 16
#define CK_LANES(n) __attribute__((ext_vector_type(n)))

typedef float vf CK_LANES(CK_WIDTH);
typedef int32_t vi CK_LANES(CK_WIDTH);
typedef uint32_t vu CK_LANES(CK_WIDTH);
typedef uint16_t vh CK_LANES(CK_WIDTH);  // bf16 numbers
typedef double vd CK_LANES(CK_WIDTH);
typedef int64_t vl CK_LANES(CK_WIDTH);

// One register: for loops that keep many of them and in which no lane meets another.
typedef float rf CK_LANES(CK_REGISTER);
typedef int32_t ri CK_LANES(CK_REGISTER);
typedef uint32_t ru CK_LANES(CK_REGISTER);
typedef double rd CK_LANES(CK_REGISTER);
typedef int64_t rl CK_LANES(CK_REGISTER);
typedef uint64_t ru64 CK_LANES(CK_REGISTER / 2);  // as many bits as rf

// Runs the statements for j = 0, W, 2W, ... below n, with m = lanes in use (W but for the last).
#define CK_EACH(j, m, n, ...)                    \
  do {                                           \
    size_t j = 0;                                \
    for (; j + CK_WIDTH <= (n); j += CK_WIDTH) { \
      const size_t m = CK_WIDTH;                 \
      __VA_ARGS__                                \
    }                                            \
    if (j < (n)) {                               \
      const size_t m = ((n) - j) % CK_WIDTH;     \
      __VA_ARGS__                                \
    }                                            \
  } while (0)

// The same for sums: k = 0 ... 3 names the accumulator, so that four additions are in flight.
#define CK_EACH4(j, m, k, n, ...)                                      \
  do {                                                                 \
    size_t j = 0;                                                      \
    while (j + 4 * CK_WIDTH <= (n)) {                                  \
      _Pragma("clang loop unroll(full)") for (int k = 0; k < 4; k++) { \
        const size_t m = CK_WIDTH;                                     \
        __VA_ARGS__                                                    \
        j += CK_WIDTH;                                                 \
      }                                                                \
    }                                                                  \
    _Pragma("clang loop unroll(full)") for (int k = 0; k < 4; k++) {   \
      if (j < (n)) {                                                   \
        const size_t m = (n) - j < CK_WIDTH ? (n) - j : CK_WIDTH;      \
        __VA_ARGS__                                                    \
        j += CK_WIDTH;                                                 \
      }                                                                \
    }                                                                  \
  } while (0)

CK_INLINE ri register_lane_numbers(void) {
  ri v;
  for (int i = 0; i < CK_REGISTER; i++) v[i] = i;
  return v;
}

CK_INLINE vi lane_numbers(void) {
  vi v;
  for (int i = 0; i < CK_WIDTH; i++) v[i] = i;
  return v;
}

// All ones in the first m lanes.
CK_INLINE vi lanes_below(size_t m) { return lane_numbers() < (vi)(int32_t)m; }

// m numbers from p, zeros after them. Nothing beyond p + m is touched.
CK_INLINE rf load_register(const void *p, size_t m) {
  rf v;
  if (m == CK_REGISTER) {
    memcpy(&v, p, sizeof v);
    return v;
  }
#if CK_LEVEL == 2
  return (rf)_mm512_maskz_loadu_ps((__mmask16)((1u << m) - 1), p);
#elif CK_LEVEL == 1
  return (rf)_mm256_maskload_ps(p, (__m256i)(register_lane_numbers() < (ri)(int32_t)m));
#else
  v = (rf)0.0f;
  memcpy(&v, p, m * sizeof(float));
  return v;
#endif
}

// The first m lanes of v to p.
CK_INLINE void store_register(void *p, size_t m, rf v) {
  if (m == CK_REGISTER) {
    memcpy(p, &v, sizeof v);
    return;
  }
#if CK_LEVEL == 2
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << m) - 1), (__m512)v);
#elif CK_LEVEL == 1
  _mm256_maskstore_ps(p, (__m256i)(register_lane_numbers() < (ri)(int32_t)m), (__m256)v);
#else
  memcpy(p, &v, m * sizeof(float));
#endif
}

// The same for a vector of several registers.
CK_INLINE vf load(const void *p, size_t m) {
#if CK_REGISTER == CK_WIDTH
  return load_register(p, m);
#else
  vf v;
  if (m == CK_WIDTH) {
    memcpy(&v, p, sizeof v);
    return v;
  }
#if CK_LEVEL == 1
  const vi used = lanes_below(m);
  v.lo = (rf)_mm256_maskload_ps(p, (__m256i)used.lo);
  v.hi = (rf)_mm256_maskload_ps((const float *)p + CK_REGISTER, (__m256i)used.hi);
#else
  v = (vf)0.0f;
  memcpy(&v, p, m * sizeof(float));
#endif
  return v;
#endif
}

CK_INLINE void store(void *p, size_t m, vf v) {
#if CK_REGISTER == CK_WIDTH
  store_register(p, m, v);
#else
  if (m == CK_WIDTH) {
    memcpy(p, &v, sizeof v);
    return;
  }
#if CK_LEVEL == 1
  const vi used = lanes_below(m);
  _mm256_maskstore_ps(p, (__m256i)used.lo, (__m256)v.lo);
  _mm256_maskstore_ps((float *)p + CK_REGISTER, (__m256i)used.hi, (__m256)v.hi);
#else
  memcpy(p, &v, m * sizeof(float));
#endif
#endif
}

CK_INLINE vi load_int(const int32_t *p, size_t m) { return (vi)load(p, m); }

CK_INLINE void store_int(int32_t *p, size_t m, vi v) { store(p, m, (vf)v); }

#if CK_LEVEL == 0
// a * b + c: the product is exact in double; its sum with c is rounded there to odd (that is: an inexact sum takes
// the neighbour whose last bit is 1), so that rounding it once more to float gives what one rounding would have
// (Boldo and Melquiond 2008), infinities and NaN included.
CK_INLINE rl odd_sum(rf a, rf b, rf c) {
  const rd product = __builtin_convertvector(a, rd) * __builtin_convertvector(b, rd);
  const rd addend = __builtin_convertvector(c, rd);
  const rd sum = product + addend;
  const rd part = sum - product;
  const rd rest = (product - (sum - part)) + (addend - part);
  const rl inexact = (rest < 0) | (rest > 0);
  const rl above = inexact & ((rest < 0) ^ (sum < 0));  // |sum| is too large
  return ((rl)sum + above) | (inexact & 1);
}
#endif

// a * b + c, rounded once.
#if CK_LEVEL > 0 || defined(__FMA__) || defined(__aarch64__)
CK_INLINE vf fused(vf a, vf b, vf c) { return __builtin_elementwise_fma(a, b, c); }
CK_INLINE rf fused_register(rf a, rf b, rf c) { return __builtin_elementwise_fma(a, b, c); }
CK_INLINE float fused_number(float a, float b, float c) {
  return __builtin_elementwise_fma(a, b, c);
}
#else
// Without the instruction. One function, called: the loops around it would be huge otherwise.
static __attribute__((noinline)) rf fused_register(rf a, rf b, rf c) {
  return __builtin_convertvector((rd)odd_sum(a, b, c), rf);
}

CK_INLINE vf fused(vf a, vf b, vf c) {
  vf v;
  v.lo.lo = fused_register(a.lo.lo, b.lo.lo, c.lo.lo);
  v.lo.hi = fused_register(a.lo.hi, b.lo.hi, c.lo.hi);
  v.hi.lo = fused_register(a.hi.lo, b.hi.lo, c.hi.lo);
  v.hi.hi = fused_register(a.hi.hi, b.hi.hi, c.hi.hi);
  return v;
}

CK_INLINE float fused_number(float a, float b, float c) {
  return fused_register((rf)a, (rf)b, (rf)c).x;
}
#endif

CK_INLINE vf absolute(vf v) { return (vf)((vi)v & 0x7fffffff); }

CK_INLINE vf maximum_of(vf a, vf b) { return a > b ? a : b; }

// Folds a vector to one number; the order of the additions is fixed.
#define CK_FOLD(result, v, combine)                  \
  do {                                               \
    __typeof__((v).lo) v8 = combine((v).lo, (v).hi); \
    __typeof__(v8.lo) v4 = combine(v8.lo, v8.hi);    \
    __typeof__(v4.lo) v2 = combine(v4.lo, v4.hi);    \
    result = combine(v2.x, v2.y);                    \
  } while (0)
#define CK_PLUS(a, b) ((a) + (b))
#define CK_GREATER(a, b) ((a) > (b) ? (a) : (b))
#define CK_LESS(a, b) ((a) < (b) ? (a) : (b))

CK_INLINE float sum_of_lanes(vf v) {
  float result;
  CK_FOLD(result, v, CK_PLUS);
  return result;
}

CK_INLINE float largest_lane(vf v) {
  float result;
  CK_FOLD(result, v, CK_GREATER);
  return result;
}

CK_INLINE int32_t smallest_int_lane(vi v) {
  int32_t result;
  CK_FOLD(result, v, CK_LESS);
  return result;
}

// Sum of a row.
CK_INLINE float row_sum(const float *x, size_t n) {
  vf sum[4] = {0};
  CK_EACH4(j, m, k, n, { sum[k] += load(x + j, m); });
  return sum_of_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// Dot product of two rows.
CK_INLINE float row_product(const float *a, const float *b, size_t n) {
  vf sum[4] = {0};
  CK_EACH4(j, m, k, n, { sum[k] = fused(load(a + j, m), load(b + j, m), sum[k]); });
  return sum_of_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}
