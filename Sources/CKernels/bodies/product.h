// Products of single-precision numbers, and the strips that their operands lie in.
#define CK_P(name) CK(name)
#define CK_TERM(x, b, sum) fused_register(x, b, sum)
#define CK_FLUSH(v) (v)
#define CK_GATE_ROW CK_STRIP
typedef const float *CK(gate);
CK_INLINE rf CK(load_gate)(CK(gate) gate, size_t m) { return load_register(gate, m); }
CK_INLINE size_t CK(gate_place)(size_t column, size_t strip) { return column / CK_STRIP * strip; }
#include "product_loops.h"
#undef CK_P
#undef CK_TERM
#undef CK_FLUSH
#undef CK_GATE_ROW

static void CK(strips_from_rows)(const float *rows, size_t row_stride, size_t count, size_t columns,
                                 float *strips, size_t strip_stride) {
  for (size_t j = 0; j < columns; j += CK_STRIP) {
    float *to = strips + j / CK_STRIP * strip_stride;
    const size_t width = columns - j < CK_STRIP ? columns - j : CK_STRIP;
    for (size_t i = 0; i < count; i++) {
      const float *from = rows + i * row_stride + j;
      CK_EACH(q, m, width, { store(to + i * CK_STRIP + q, m, load(from + q, m)); });
    }
  }
}

#if CK_REGISTER == 16
#define CK_INTERLEAVE_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define CK_INTERLEAVE_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif CK_REGISTER == 8
#define CK_INTERLEAVE_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define CK_INTERLEAVE_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define CK_INTERLEAVE_LOW 0, 4, 1, 5
#define CK_INTERLEAVE_HIGH 2, 6, 3, 7
#endif

// Transposes CK_REGISTER rows in registers: interleaving the upper half with the lower, as often as the
// width can be halved, exchanges rows and columns.
CK_INLINE void CK(transpose_square)(const float *from, size_t row_stride, const int32_t *index,
                                    float *to) {
  rf row[CK_REGISTER], next[CK_REGISTER];
  _Pragma("clang loop unroll(full)") for (int i = 0; i < CK_REGISTER; i++) {
    row[i] = load_register(from + (index ? (size_t)index[i] : i) * row_stride, CK_REGISTER);
  }
  _Pragma("clang loop unroll(full)") for (int width = 1; width < CK_REGISTER; width *= 2) {
    _Pragma("clang loop unroll(full)") for (int i = 0; i < CK_REGISTER / 2; i++) {
      const rf low = row[i], high = row[i + CK_REGISTER / 2];
      next[2 * i] = __builtin_shufflevector(low, high, CK_INTERLEAVE_LOW);
      next[2 * i + 1] = __builtin_shufflevector(low, high, CK_INTERLEAVE_HIGH);
    }
    _Pragma("clang loop unroll(full)") for (int i = 0; i < CK_REGISTER; i++) row[i] = next[i];
  }
  _Pragma("clang loop unroll(full)") for (int i = 0; i < CK_REGISTER; i++) {
    store_register(to + i * CK_STRIP, CK_REGISTER, row[i]);
  }
}

// `index`: which rows, or NULL for the first ones; a constant where this is inlined.
CK_INLINE void CK(strips_of_rows)(const float *rows, size_t row_stride, const int32_t *index,
                                  size_t count, size_t columns, float *strips,
                                  size_t strip_stride) {
  for (size_t i = 0; i < count; i += CK_REGISTER) {
    float *to = strips + i / CK_STRIP * strip_stride + i % CK_STRIP;
    const int32_t *chosen = index ? index + i : NULL;
    const float *from = index ? rows : rows + i * row_stride;
    // Rows by index lie anywhere: those of the next registers are asked for while these are turned.
    for (size_t n = i + CK_REGISTER; index && n < count && n < i + 2 * CK_REGISTER; n++) {
      const float *row = rows + (size_t)index[n] * row_stride;
      for (size_t p = 0; p < columns; p += 16) __builtin_prefetch(row + p);
    }
    const size_t lanes = count - i < CK_REGISTER ? count - i : CK_REGISTER;
    size_t j = 0;
    if (lanes == CK_REGISTER) {
      for (; j + CK_REGISTER <= columns; j += CK_REGISTER) {
        CK(transpose_square)(from + j, row_stride, chosen, to + j * CK_STRIP);
      }
    }
    for (size_t lane = 0; lane < lanes; lane++) {
      const float *row = from + (chosen ? (size_t)chosen[lane] : lane) * row_stride;
      for (size_t column = j; column < columns; column++) to[column * CK_STRIP + lane] = row[column];
    }
  }
}

static void CK(strips_transposed)(const float *rows, size_t row_stride, size_t count,
                                  size_t columns, float *strips, size_t strip_stride) {
  CK(strips_of_rows)(rows, row_stride, NULL, count, columns, strips, strip_stride);
}

static void CK(strips_gathered)(const float *rows, size_t row_stride, const int32_t *index,
                                size_t count, size_t columns, float *strips, size_t strip_stride) {
  CK(strips_of_rows)(rows, row_stride, index, count, columns, strips, strip_stride);
}
