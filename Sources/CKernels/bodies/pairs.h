// Products of bf16 numbers with single-precision sums. Numbers that meet lie in pairs of k, 32 bits each with the first
// one in the lower half, so that a pair takes the place of a float in the loops, in strips and in every layout.
//
// The arithmetic is that of the instruction vdpbf16ps (Intel's manual, volume 2): the second numbers of both
// pairs are multiplied and added to the sum, then the first ones, each step rounded once to nearest even, with numbers below the
// normal ones taken for zeros of their sign on the way in and out. Without the instruction the steps are two
// fused multiply-adds with the same treatment of small numbers; only the bits of a NaN may be others.

#if CK_LEVEL > 0
// The processor is told so by `CK_FLUSHING`.
#define CK_FLUSH(v) (v)
CK_INLINE rf CK(pair_step)(rf a, rf b, rf c) { return fused_register(a, b, c); }
#else
CK_INLINE rf CK(pair_flush)(rf v) {
  return (rf)((ru)v & (((ru)v & 0x7f800000u) == 0 ? (ru)0x80000000u : (ru)0xffffffffu));
}
#define CK_FLUSH(v) CK(pair_flush)(v)
// One rounding, as in `fused_register`. What would round to less than the smallest normal number, were there no end to
// exponents, becomes zero.
static __attribute__((noinline)) rf CK(pair_step_flushed)(rf a, rf b, rf c) {
  const rl odd = odd_sum(a, b, c);
  const rd size = (rd)(odd & 0x7fffffffffffffff);
  const rl small = size < 0x1.ffffffp-127;
  return __builtin_convertvector((rd)(odd & ~(small & 0x7fffffffffffffff)), rf);
}
CK_INLINE rf CK(pair_step)(rf a, rf b, rf c) {
  return CK(pair_step_flushed)(CK_FLUSH(a), CK_FLUSH(b), CK_FLUSH(c));
}
#endif
CK_INLINE rf CK(pair_first)(rf pair) { return (rf)((ru)pair << 16); }
CK_INLINE rf CK(pair_second)(rf pair) { return (rf)((ru)pair & 0xffff0000u); }

CK_INLINE rf CK(pair_term)(rf x, rf b, rf sum) {
#ifdef CK_BF16
  return (rf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(__m512)x, (__m512bh)(__m512)b);
#else
  sum = CK(pair_step)(CK(pair_second)(x), CK(pair_second)(b), sum);
  return CK(pair_step)(CK(pair_first)(x), CK(pair_first)(b), sum);
#endif
}
#define CK_TERM(x, b, sum) CK(pair_term)(x, b, sum)

// A gate is a left side as well: strips of twice as many columns.
#define CK_GATE_ROW (2 * CK_STRIP)
typedef const uint16_t *CK(pair_gate);
typedef uint16_t CK(register_halves) CK_LANES(CK_REGISTER);
CK_INLINE rf CK(pair_load_gate)(CK(pair_gate) gate, size_t m) {
  CK(register_halves) halves;
  (void)m;  // a strip is there to its end
  memcpy(&halves, gate, sizeof halves);
  return CK_FLUSH((rf)(__builtin_convertvector(halves, ru) << 16));
}
CK_INLINE size_t CK(pair_gate_place)(size_t column, size_t strip) {
  return column / (2 * CK_STRIP) * 2 * strip + column % (2 * CK_STRIP);
}

#define CK_P(name) CK(pair_##name)
#include "product_loops.h"
#undef CK_P

// The limit of these products, as `fma_loop` is of others.
static double CK(pair_loop)(size_t rounds, float *result) {
  rf sum[12];
  _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++) sum[i] = (rf)(float)i;
  rf factor = (rf)(ru)0x3c003c00u;
  for (size_t round = 0; round < rounds; round++) {
    __asm__ volatile("" : "+x"(factor));  // the same numbers every time, which the compiler must not know
    _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++) {
      sum[i] = CK_TERM(factor, factor, sum[i]);
    }
  }
  rf total = (rf)0.0f;
  _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++) total += sum[i];
  *result = total.x;
  return 48.0 * CK_REGISTER * (double)rounds;
}

// Runs a statement in the processor's mode that takes small numbers for zeros.
#if CK_LEVEL > 0
#define CK_FLUSHING(statement)                                                       \
  do {                                                                               \
    const unsigned mode = _mm_getcsr();                                              \
    _mm_setcsr(mode | _MM_FLUSH_ZERO_ON | 0x0040); /* and denormals are zeros */     \
    statement;                                                                       \
    _mm_setcsr(mode);                                                                \
  } while (0)
#else
#define CK_FLUSHING(statement) statement
#endif

// noinline: whose arithmetic must stay between the changes of the processor's mode.
static __attribute__((noinline)) void CK(pair_product_here)(
    ck_left a, const float *b, size_t b_strip, float *c, size_t c_row, size_t c_strip, size_t rows,
    size_t columns, size_t depth, int add, int go_on, const float *bias, int relu,
    const uint16_t *gate, size_t gate_strip) {
  CK(pair_product)(a, b, b_strip, c, c_row, c_strip, rows, columns, depth, add, go_on, bias, relu,
                   gate, gate_strip);
}

static void CK(product_pairs)(ck_left a, const float *b, size_t b_strip, float *c, size_t c_row,
                              size_t c_strip, size_t rows, size_t columns, size_t depth, int add,
                              int go_on, const float *bias, int relu, const uint16_t *gate,
                              size_t gate_strip) {
  CK_FLUSHING(CK(pair_product_here)(a, b, b_strip, c, c_row, c_strip, rows, columns, depth, add,
                                    go_on, bias, relu, gate, gate_strip));
}

// The bf16 number nearest to each, ties to even. What is below the normal numbers becomes zero, and a NaN stays one.
CK_INLINE vh CK(rounded_halves)(vf v) {
#ifdef CK_BF16
  return (vh)_mm512_cvtneps_pbh((__m512)v);
#else
  const vu bits = (vu)v;
  const vu size = bits & 0x7fffffffu;
  const vu nearest = bits + 0x7fffu + ((bits >> 16) & 1u);
  const vu chosen = size > 0x7f800000u ? bits | 0x400000u
                    : size < 0x00800000u ? bits & 0x80000000u : nearest;
  return __builtin_convertvector(chosen >> 16, vh);
#endif
}

static void CK(round_pairs)(const float *from, size_t row, size_t strip, size_t rows,
                            size_t columns, uint32_t *left, size_t left_strip, uint32_t *right,
                            size_t right_strip) {
  for (size_t j = 0; j < columns; j += CK_STRIP) {
    const float *source = from + j / CK_STRIP * strip;
    const size_t width = columns - j < CK_STRIP ? columns - j : CK_STRIP;
    // 32 columns are half a strip of pairs of columns, and a strip of pairs of rows.
    uint16_t *across =
        left ? (uint16_t *)(left + j / (2 * CK_STRIP) * left_strip) + j % (2 * CK_STRIP) : NULL;
    uint32_t *down = right ? right + j / CK_STRIP * right_strip : NULL;
    for (size_t i = 0; i < rows; i += 2) {
      CK_EACH(q, m, width, {
        const vf first = load(source + i * row + q, m);
        const vf second = i + 1 < rows ? load(source + (i + 1) * row + q, m) : (vf)0.0f;
        const vh low = CK(rounded_halves)(first), high = CK(rounded_halves)(second);
        if (left) {
          memcpy(across + i * 2 * CK_STRIP + q, &low, sizeof low);
          if (i + 1 < rows) memcpy(across + (i + 1) * 2 * CK_STRIP + q, &high, sizeof high);
        }
        if (right) {
          const vu pairs =
              __builtin_convertvector(low, vu) | __builtin_convertvector(high, vu) << 16;
          store_int((int32_t *)down + i / 2 * CK_STRIP + q, CK_WIDTH, (vi)pairs);
        }
      });
    }
  }
}
