// Matrix products of tiles, for the element that the including file names: CK_P(name) is a function's name for it,
// CK_TERM(x, b, sum) the sum with the next term, CK_FLUSH(v) what the element's arithmetic makes of a number; a gate is a
// pointer CK_P(gate) to numbers with CK_GATE_ROW in a row of a strip.
//
// The right side lies in strips of CK_STRIP columns, as `strips_from_rows` and
// `strips_transposed` make them, so that a few rows of the left side times one strip run in registers
// with every load aligned and in order. The left side may be rows, strips or transposed strips.
//
// An element of the result is one running sum over k, in order, per block of k: its bits depend on its
// row and column and on the layout of the left side, not on how a caller cuts rows and columns. A sum that
// goes on from what the result holds is one chain over all of k, whose bits no exact zero changes and no cut.
//
// Order of the loops: a PANEL of k, so that the left side's part stays in the second-level cache while
// all strips of the right side pass by; in it the strips; in it groups of rows; in it blocks of k.

#ifndef CK_PRODUCT_ROWS
// The part of the result whose sums are kept in registers: rows, which divide a strip's width, and columns.
#if CK_LEVEL == 2
#define CK_PRODUCT_ROWS 8
#else
#define CK_PRODUCT_ROWS 4
#endif
#define CK_PRODUCT_COLUMNS (2 * CK_REGISTER)
#define CK_PANEL 512
// Rows of k in a block: the right side's part stays in the first-level cache for a group of rows. A
// transposed left side shares its cache lines among the rows of a strip, so those lines have to stay as well:
// shorter blocks and groups.
#define CK_BLOCK 256
#define CK_BLOCK_TRANSPOSED 128
#define CK_GROUP 128
#define CK_GROUP_TRANSPOSED 64
// Strips that a single row takes at once: sums of eight registers, or each would wait for itself.
#define CK_ROW_STRIPS (8 * CK_REGISTER / CK_STRIP)
#endif

typedef struct {
  const float *bias;  // of the strip's first column, or NULL
  CK_P(gate) gate;    // where the gate is not positive the result is 0; in strips, or NULL
  int add, go_on, relu;
} CK_P(epilogue);

CK_INLINE rf CK_P(finish)(rf sum, const float *old, size_t column, size_t m, CK_P(epilogue) e) {
  if (e.add) sum = CK_FLUSH(sum + CK_FLUSH(load_register(old, m)));
  if (e.bias) sum = CK_FLUSH(sum + CK_FLUSH(load_register(e.bias + column, m)));
  if (e.relu) sum = sum < 0 ? 0 : sum;  // NaN stays NaN, so that it is seen
  if (e.gate) sum = CK_P(load_gate)(e.gate, m) > 0 ? sum : 0;
  return sum;
}

// `rows` rows times two registers' width of a strip. Inlined with constants for all that is hot.
CK_INLINE void CK_P(product_registers)(int rows, const float *a, size_t row, size_t k_block,
                                     size_t k_step, const float *b, size_t depth, float *c,
                                     size_t c_row, size_t columns, CK_P(epilogue) e) {
  rf sum[CK_PRODUCT_ROWS][2];
  const size_t first = columns < CK_REGISTER ? columns : CK_REGISTER;
  const size_t second = columns - first < CK_REGISTER ? columns - first : CK_REGISTER;
  // Every loop over rows is unrolled, or the sums would live in memory.
  _Pragma("clang loop unroll(full)") for (int i = 0; i < rows; i++) {
    sum[i][0] = sum[i][1] = (rf)0.0f;
  }
  if (e.go_on) {
    _Pragma("clang loop unroll(full)") for (int i = 0; i < rows; i++) {
      sum[i][0] = load_register(c + i * c_row, first);
      if (second > 0) sum[i][1] = load_register(c + i * c_row + CK_REGISTER, second);
    }
  }
  // A weight gradient's rows lie far apart in a matrix larger than the caches: they arrive during the loop.
  if (e.add) {
    for (int i = 0; i < rows; i++) {
      for (size_t q = 0; q < CK_PRODUCT_COLUMNS; q += 16) {
        __builtin_prefetch(c + i * c_row + q, 1, 3);
      }
    }
  }
  for (size_t start = 0; start < depth; start += CK_STRIP) {
    const size_t count = depth - start < CK_STRIP ? depth - start : CK_STRIP;
    const float *at = a;
    for (size_t p = 0; p < count; p++) {
      const rf b0 = load_register(b, CK_REGISTER), b1 = load_register(b + CK_REGISTER, CK_REGISTER);
      b += CK_STRIP;
      _Pragma("clang loop unroll(full)") for (int i = 0; i < rows; i++) {
        const rf x = (rf)at[i * row];
        sum[i][0] = CK_TERM(x, b0, sum[i][0]);
        sum[i][1] = CK_TERM(x, b1, sum[i][1]);
      }
      at += k_step;
    }
    a += k_block;
  }
  _Pragma("clang loop unroll(full)") for (int i = 0; i < rows; i++, c += c_row) {
    store_register(c, first, CK_P(finish)(sum[i][0], c, 0, first, e));
    if (second > 0) {
      CK_P(epilogue) right = e;
      if (e.gate) right.gate += CK_REGISTER;
      store_register(c + CK_REGISTER, second,
                     CK_P(finish)(sum[i][1], c + CK_REGISTER, CK_REGISTER, second, right));
    }
    if (e.gate) e.gate += CK_GATE_ROW;
  }
}

// One strip of the result for a group of rows and a block of k. With each register tile `fetch` floats at
// `next`, which is used soon, come to the second-level cache: weights of a layer are larger than it.
static void CK_P(product_strip)(ck_left a, const float *b, float *c, size_t c_row, size_t rows,
                              size_t columns, size_t depth, const float *next, size_t fetch,
                              CK_P(epilogue) e) {
  for (size_t half = 0; half < columns; half += CK_PRODUCT_COLUMNS) {
    const size_t width = columns - half < CK_PRODUCT_COLUMNS ? columns - half : CK_PRODUCT_COLUMNS;
    CK_P(epilogue) own = e;
    if (e.bias) own.bias += half;
    size_t i = 0;
    for (; i + CK_PRODUCT_ROWS <= rows; i += CK_PRODUCT_ROWS) {
      const float *at = a.base + i / CK_STRIP * a.row_block + i % CK_STRIP * a.row;
      if (e.gate) own.gate = e.gate + half + i * CK_GATE_ROW;
      if (half == 0) {
        for (size_t f = 0; f < fetch; f += 16) __builtin_prefetch(next + f, 0, 2);
        next += fetch;
      }
      // Constant strides in the two common cases save address arithmetic in the inner loop.
      if (a.row == 1) {
        CK_P(product_registers)(CK_PRODUCT_ROWS, at, 1, a.k_block, a.k, b + half, depth,
                              c + half + i * c_row, c_row, width, own);
      } else if (a.row == CK_STRIP) {
        CK_P(product_registers)(CK_PRODUCT_ROWS, at, CK_STRIP, a.k_block, 1, b + half, depth,
                              c + half + i * c_row, c_row, width, own);
      } else {
        CK_P(product_registers)(CK_PRODUCT_ROWS, at, a.row, a.k_block, 1, b + half, depth,
                              c + half + i * c_row, c_row, width, own);
      }
    }
    for (; i < rows; i++) {
      const float *at = a.base + i / CK_STRIP * a.row_block + i % CK_STRIP * a.row;
      if (e.gate) own.gate = e.gate + half + i * CK_GATE_ROW;
      CK_P(product_registers)(1, at, a.row, a.k_block, a.k, b + half, depth, c + half + i * c_row,
                            c_row, width, own);
    }
  }
}

// One row times CK_ROW_STRIPS strips for a block of k, in the order of product_registers.
static void CK_P(product_row)(ck_left a, const float *b, size_t b_strip, float *c, size_t c_strip,
                            size_t depth, CK_P(epilogue) e) {
  enum { registers = CK_STRIP / CK_REGISTER };
  rf sum[CK_ROW_STRIPS][registers];
  for (int s = 0; s < CK_ROW_STRIPS; s++) {
    for (int r = 0; r < registers; r++) {
      sum[s][r] = e.go_on ? load_register(c + s * c_strip + r * CK_REGISTER, CK_REGISTER) : (rf)0.0f;
    }
  }
  for (size_t start = 0; start < depth; start += CK_STRIP, a.base += a.k_block) {
    const size_t count = depth - start < CK_STRIP ? depth - start : CK_STRIP;
    for (size_t p = 0; p < count; p++, b += CK_STRIP) {
      const rf x = (rf)a.base[p * a.k];
      _Pragma("clang loop unroll(full)") for (int s = 0; s < CK_ROW_STRIPS; s++) {
        _Pragma("clang loop unroll(full)") for (int r = 0; r < registers; r++) {
          sum[s][r] = CK_TERM(x, load_register(b + s * b_strip + r * CK_REGISTER, CK_REGISTER),
                              sum[s][r]);
        }
      }
    }
  }
  for (int s = 0; s < CK_ROW_STRIPS; s++) {
    for (int r = 0; r < registers; r++) {
      float *to = c + s * c_strip + r * CK_REGISTER;
      store_register(to, CK_REGISTER,
                     CK_P(finish)(sum[s][r], to, (s * registers + r) * CK_REGISTER, CK_REGISTER, e));
    }
  }
}

static void CK_P(product)(ck_left a, const float *b, size_t b_strip, float *c, size_t c_row,
                        size_t c_strip, size_t rows, size_t columns, size_t depth, int add,
                        int go_on, const float *bias, int relu, CK_P(gate) gate,
                        size_t gate_strip) {
  const size_t block = a.row == 1 ? CK_BLOCK_TRANSPOSED : CK_BLOCK;
  const size_t group = a.row == 1 ? CK_GROUP_TRANSPOSED : CK_GROUP;
  for (size_t panel = 0; panel < depth; panel += CK_PANEL) {
    const size_t end = depth - panel < CK_PANEL ? depth : panel + CK_PANEL;
    for (size_t j = 0; j < columns; j += CK_STRIP) {
      const float *strip = b + j / CK_STRIP * b_strip;
      if (rows == 1 && !gate && columns - j >= CK_ROW_STRIPS * CK_STRIP) {
        for (size_t k = panel; k < end; k += block) {
          const size_t count = end - k < block ? end - k : block;
          const int last = k + count == depth;
          ck_left part = a;
          part.base += k / CK_STRIP * a.k_block;
          const CK_P(epilogue) e = {last && bias ? bias + j : NULL, NULL, !go_on && (add || k > 0),
                                  go_on, last && relu};
          CK_P(product_row)(part, strip + k * CK_STRIP, b_strip, c + j / CK_STRIP * c_strip, c_strip,
                          count, e);
        }
        j += (CK_ROW_STRIPS - 1) * CK_STRIP;
        continue;
      }
      const float *following =
          j + CK_STRIP < columns ? strip + b_strip : b + (end - panel) * CK_STRIP;
      for (size_t g = 0; g < rows; g += group) {
        const size_t height = rows - g < group ? rows - g : group;
        for (size_t k = panel; k < end; k += block) {
          const size_t count = end - k < block ? end - k : block;
          const int last = k + count == depth;
          ck_left part = a;
          part.base += k / CK_STRIP * a.k_block + g / CK_STRIP * a.row_block;
          // Bias, activation and gate belong to the finished sum.
          const CK_P(epilogue) e = {
              last && bias ? bias + j : NULL,
              last && gate ? gate + CK_P(gate_place)(j, gate_strip) + g * CK_GATE_ROW : NULL,
              !go_on && (add || k > 0), go_on, last && relu};
          CK_P(product_strip)(part, strip + k * CK_STRIP,
                            c + j / CK_STRIP * c_strip + g * c_row, c_row, height,
                            columns - j < CK_STRIP ? columns - j : CK_STRIP, count,
                            following + (k + count * g / rows) * CK_STRIP,
                            count * CK_STRIP * CK_PRODUCT_ROWS / rows, e);
        }
      }
    }
  }
}
