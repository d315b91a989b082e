// The vectors the kernels are written in: CK_WIDTH lanes of clang's vector extension.
//
// Two rules make results independent of how a caller cuts its data and of memory alignment:
// 1. The last lanes of a row run through the same vector code as the rest, on a register whose
//    unused lanes are zero. There is no separate scalar remainder loop.
// 2. a * b + c is fused where it is written as one expression and nowhere else (the compiler's
//    default, made explicit here), and no sum may be reordered by the compiler.
#include <string.h>  // memcpy, the way to load and store without alignment

#pragma STDC FP_CONTRACT ON

#define CK_INLINE static inline __attribute__((always_inline))
#define CK_LANES __attribute__((ext_vector_type(CK_WIDTH)))
#define CK_HALF_LANES __attribute__((ext_vector_type(CK_WIDTH / 2)))

typedef float vf CK_LANES;
typedef int32_t vi CK_LANES;
typedef uint32_t vu CK_LANES;
typedef double vd CK_LANES;
typedef uint64_t vu64 CK_HALF_LANES;  // as many bits as vf

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

CK_INLINE vi lane_numbers(void) {
  vi v;
  for (int i = 0; i < CK_WIDTH; i++) v[i] = i;
  return v;
}

// All ones in the first m lanes.
CK_INLINE vi lanes_below(size_t m) { return lane_numbers() < (vi)(int32_t)m; }

// m numbers from p, zeros after them. Nothing beyond p + m is touched.
CK_INLINE vf load(const void *p, size_t m) {
  vf v;
  if (m == CK_WIDTH) {
    memcpy(&v, p, sizeof v);
    return v;
  }
#if CK_LEVEL == 2
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << m) - 1), p);
#elif CK_LEVEL == 1
  return (vf)_mm256_maskload_ps(p, (__m256i)lanes_below(m));
#else
  v = (vf)0.0f;
  memcpy(&v, p, m * sizeof(float));
  return v;
#endif
}

CK_INLINE vi load_int(const int32_t *p, size_t m) { return (vi)load(p, m); }

// The first m lanes of v to p.
CK_INLINE void store(void *p, size_t m, vf v) {
  if (m == CK_WIDTH) {
    memcpy(p, &v, sizeof v);
    return;
  }
#if CK_LEVEL == 2
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << m) - 1), (__m512)v);
#elif CK_LEVEL == 1
  _mm256_maskstore_ps(p, (__m256i)lanes_below(m), (__m256)v);
#else
  memcpy(p, &v, m * sizeof(float));
#endif
}

CK_INLINE void store_int(int32_t *p, size_t m, vi v) { store(p, m, (vf)v); }

CK_INLINE vf absolute(vf v) { return (vf)((vi)v & 0x7fffffff); }

CK_INLINE vf maximum_of(vf a, vf b) { return a > b ? a : b; }

// Folds a register to one number; the order of the additions is fixed.
#if CK_WIDTH == 16
#define CK_FOLD(result, v, combine)                  \
  do {                                               \
    __typeof__((v).lo) v8 = combine((v).lo, (v).hi); \
    __typeof__(v8.lo) v4 = combine(v8.lo, v8.hi);    \
    __typeof__(v4.lo) v2 = combine(v4.lo, v4.hi);    \
    result = combine(v2.x, v2.y);                    \
  } while (0)
#elif CK_WIDTH == 8
#define CK_FOLD(result, v, combine)                  \
  do {                                               \
    __typeof__((v).lo) v4 = combine((v).lo, (v).hi); \
    __typeof__(v4.lo) v2 = combine(v4.lo, v4.hi);    \
    result = combine(v2.x, v2.y);                    \
  } while (0)
#else
#define CK_FOLD(result, v, combine)                  \
  do {                                               \
    __typeof__((v).lo) v2 = combine((v).lo, (v).hi); \
    result = combine(v2.x, v2.y);                    \
  } while (0)
#endif
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
  CK_EACH4(j, m, k, n, { sum[k] = load(a + j, m) * load(b + j, m) + sum[k]; });
  return sum_of_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}
