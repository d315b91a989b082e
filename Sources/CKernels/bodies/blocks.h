// Products of bf16 numbers in blocks of 32 along k, in the operands of bodies/pairs.h.
//
// The arithmetic is that of the instruction tdpbf16ps (Intel's manual, volume 2): of a block's 16 pairs the first numbers
// and the second ones are summed apart, each from zero by fused multiply-adds in order; the two sums are added, and
// that is added to the sum of the blocks before. Every step rounds once to nearest even, with numbers below the normal
// ones taken for zeros on the way in and out. The last block of k may be shorter. An element of the result is one chain
// over all blocks: its bits depend on its row and column alone. With CK_AMX the instruction does a block of 16 rows and 16
// columns; without it the steps are written out, and only the bits of a NaN may be others.

#ifdef CK_AMX
// Eight tiles: sums of two groups of rows times two halves of a strip, two of the left side, two of the right.
typedef struct {
  uint8_t palette, start, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} CK(tile_shapes);

// What the tiles of this thread are shaped for; 0 where they are released. Shaping them takes as long as a small product.
static _Thread_local size_t CK(shaped_rows), CK(shaped_pairs);

// Tiles for `rows` rows, at most 32, and blocks of `pairs`.
static void CK(shape_tiles)(size_t rows, size_t pairs) {
  if (CK(shaped_rows) == rows && CK(shaped_pairs) == pairs) return;
  CK(shaped_rows) = rows;
  CK(shaped_pairs) = pairs;
  const uint8_t upper = rows < 16 ? rows : 16, lower = rows - upper;
  const uint8_t lines[8] = {upper, upper, lower, lower, upper, lower, pairs, pairs};
  CK(tile_shapes) shapes = {.palette = 1};
  for (int tile = 0; tile < 8; tile++) {
    shapes.rows[tile] = lines[tile] ? lines[tile] : 1;  // a tile of no rows would be none
    shapes.row_bytes[tile] = tile == 4 || tile == 5 ? pairs * 4 : 64;
  }
  _tile_loadconfig(&shapes);
}

static void CK(release_tiles)(void) {
  if (CK(shaped_rows) == 0) return;
  CK(shaped_rows) = 0;
  _tile_release();
}

// Adds `count` blocks of a strip to sums of up to 32 rows, or sets them.
CK_INLINE void CK(block_tiles)(int two, const float *a, size_t row, size_t k_block, const float *b,
                               size_t count, float *sums, size_t sums_row, int set) {
  const size_t step = sums_row * 4;
  if (set) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums, step);
    _tile_loadd(1, sums + 16, step);
    if (two) {
      _tile_loadd(2, sums + 16 * sums_row, step);
      _tile_loadd(3, sums + 16 * sums_row + 16, step);
    }
  }
  for (size_t block = 0; block < count; block++) {
    const float *left = a + block / 2 * k_block + block % 2 * 16;
    _tile_loadd(6, b, 4 * CK_STRIP);
    _tile_loadd(4, left, row * 4);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + 16, 4 * CK_STRIP);
    _tile_dpbf16ps(1, 4, 7);
    if (two) {
      _tile_loadd(5, left + 16 * row, row * 4);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    b += 16 * CK_STRIP;
  }
  _tile_stored(0, sums, step);
  _tile_stored(1, sums + 16, step);
  if (two) {
    _tile_stored(2, sums + 16 * sums_row, step);
    _tile_stored(3, sums + 16 * sums_row + 16, step);
  }
}

static void CK(block_sums)(size_t rows, const float *a, size_t row, size_t k_block, const float *b,
                           size_t depth, float *sums, size_t sums_row, int set) {
  const size_t count = depth / 16, rest = depth % 16;
  if (count > 0) {
    CK(shape_tiles)(rows, 16);
    if (rows > 16) {
      CK(block_tiles)(1, a, row, k_block, b, count, sums, sums_row, set);
    } else {
      CK(block_tiles)(0, a, row, k_block, b, count, sums, sums_row, set);
    }
  }
  if (rest == 0) return;
  CK(shape_tiles)(rows, rest);
  a += count / 2 * k_block + count % 2 * 16;
  b += count * 16 * CK_STRIP;
  CK(block_tiles)(rows > 16, a, row, k_block, b, 1, sums, sums_row, set && count == 0);
}
#else
static void CK(release_tiles)(void) {}

// The same for some rows and one register of a strip.
CK_INLINE void CK(block_registers)(int rows, const float *a, size_t row, size_t k_block,
                                   const float *b, size_t depth, float *sums, size_t sums_row,
                                   int set) {
  rf sum[CK_PRODUCT_ROWS];
  _Pragma("clang loop unroll(full)") for (int i = 0; i < rows; i++) {
    sum[i] = set ? (rf)0.0f : load_register(sums + i * sums_row, CK_REGISTER);
  }
  for (size_t block = 0; block < depth; block += 16) {
    const size_t pairs = depth - block < 16 ? depth - block : 16;
    const float *left = a + block / CK_STRIP * k_block + block % CK_STRIP;
    rf first[CK_PRODUCT_ROWS], second[CK_PRODUCT_ROWS];
    _Pragma("clang loop unroll(full)") for (int i = 0; i < rows; i++) {
      first[i] = second[i] = (rf)0.0f;
    }
    for (size_t p = 0; p < pairs; p++, b += CK_STRIP) {
      const rf right = load_register(b, CK_REGISTER);
      const rf b0 = CK(pair_first)(right), b1 = CK(pair_second)(right);
      _Pragma("clang loop unroll(full)") for (int i = 0; i < rows; i++) {
        const rf x = (rf)left[i * row + p];
        first[i] = CK(pair_step)(CK(pair_first)(x), b0, first[i]);
        second[i] = CK(pair_step)(CK(pair_second)(x), b1, second[i]);
      }
    }
    _Pragma("clang loop unroll(full)") for (int i = 0; i < rows; i++) {
      sum[i] = CK_FLUSH(CK_FLUSH(sum[i]) + CK_FLUSH(first[i] + second[i]));
    }
  }
  _Pragma("clang loop unroll(full)") for (int i = 0; i < rows; i++) {
    store_register(sums + i * sums_row, CK_REGISTER, sum[i]);
  }
}

static void CK(block_sums)(size_t rows, const float *a, size_t row, size_t k_block, const float *b,
                           size_t depth, float *sums, size_t sums_row, int set) {
  for (size_t half = 0; half < CK_STRIP; half += CK_REGISTER) {
    size_t i = 0;
    for (; i + CK_PRODUCT_ROWS <= rows; i += CK_PRODUCT_ROWS) {
      CK(block_registers)(CK_PRODUCT_ROWS, a + i * row, row, k_block, b + half, depth,
                          sums + half + i * sums_row, sums_row, set);
    }
    for (; i < rows; i++) {
      CK(block_registers)(1, a + i * row, row, k_block, b + half, depth,
                          sums + half + i * sums_row, sums_row, set);
    }
  }
}
#endif

// The finished sums of a strip, by rows of CK_STRIP, to the result.
CK_INLINE void CK(block_finish)(const float *sums, float *c, size_t c_row, size_t rows,
                                size_t columns, CK(pair_epilogue) e) {
  for (size_t i = 0; i < rows; i++) {
    for (size_t j = 0; j < columns; j += CK_REGISTER) {
      const size_t m = columns - j < CK_REGISTER ? columns - j : CK_REGISTER;
      CK(pair_epilogue) own = e;
      if (e.gate) own.gate = e.gate + i * CK_GATE_ROW + j;
      float *to = c + i * c_row + j;
      const rf sum = load_register(sums + i * CK_STRIP + j, CK_REGISTER);
      store_register(to, m, CK(pair_finish)(sum, to, j, m, own));
    }
  }
}

// Pairs of a transposed left side that are turned at a time, for a group of rows.
enum { CK(block_turned) = 512 };

// Rows of a transposed left side as pairs that follow each other in k, by strips of `CK_STRIP` rows.
CK_INLINE void CK(block_turn)(ck_left a, size_t rows, size_t depth, float *to) {
  for (size_t k = 0; k < depth; k += CK_STRIP) {
    ck_strips_transposed(a.base + k / CK_STRIP * a.k_block, a.k,
                         depth - k < CK_STRIP ? depth - k : CK_STRIP, rows, to + k * CK_STRIP,
                         CK_STRIP * CK_STRIP);
  }
}

// noinline: as `pair_product_here`.
static __attribute__((noinline)) void CK(block_product)(
    ck_left a, const float *b, size_t b_strip, float *c, size_t c_row, size_t c_strip, size_t rows,
    size_t columns, size_t depth, int add, int go_on, const float *bias, int relu,
    const uint16_t *gate, size_t gate_strip) {
  _Alignas(64) float turned[CK_STRIP * CK(block_turned)], sums[CK_STRIP * CK_STRIP];
  const int turn = a.k != 1;
  // All rows for a strip, or all strips for the rows that are turned; and of these so much of k.
  const size_t span = turn ? CK_STRIP : rows, part = turn ? CK(block_turned) : depth;
  const int ends = add || bias || relu || gate;
  for (size_t from = 0; from < rows; from += span) {
    const size_t to = rows - from < span ? rows : from + span;
    for (size_t j = 0; j < columns; j += CK_STRIP) {
      const size_t width = columns - j < CK_STRIP ? columns - j : CK_STRIP;
      const float *strip = b + j / CK_STRIP * b_strip;
      for (size_t g = from; g < to; g += CK_STRIP) {
        const size_t height = to - g < CK_STRIP ? to - g : CK_STRIP;
        float *result = c + g * c_row + j / CK_STRIP * c_strip;
        const int here = !ends && width == CK_STRIP;
        float *at = here ? result : sums;
        const size_t at_row = here ? c_row : CK_STRIP;
        if (go_on && !here) {
          for (size_t i = 0; i < height; i++) memcpy(sums + i * CK_STRIP, result + i * c_row, width * 4);
        }
        for (size_t k = 0; k < depth; k += part) {
          const size_t count = depth - k < part ? depth - k : part;
          ck_left own = a;
          own.base += g / CK_STRIP * a.row_block + k / CK_STRIP * a.k_block;
          if (turn) {
            if (j == 0 || depth > part) CK(block_turn)(own, height, count, turned);
            own = (ck_left){turned, 0, CK_STRIP, CK_STRIP * CK_STRIP, 1};
          }
          CK(block_sums)(height, own.base, own.row, own.k_block, strip + k * CK_STRIP, count, at,
                         at_row, k == 0 && !go_on);
        }
        if (here) continue;
        const CK(pair_epilogue) e = {
            bias ? bias + j : NULL,
            gate ? gate + CK(pair_gate_place)(j, gate_strip) + g * CK_GATE_ROW : NULL,
            add && !go_on, go_on, relu};
        CK(block_finish)(sums, result, c_row, height, width, e);
      }
    }
  }
}

static void CK(product_blocks)(ck_left a, const float *b, size_t b_strip, float *c, size_t c_row,
                               size_t c_strip, size_t rows, size_t columns, size_t depth, int add,
                               int go_on, const float *bias, int relu, const uint16_t *gate,
                               size_t gate_strip) {
  CK_FLUSHING(CK(block_product)(a, b, b_strip, c, c_row, c_strip, rows, columns, depth, add, go_on,
                                bias, relu, gate, gate_strip));
}

// The limit of these products, as `fma_loop` is of others; nothing where there is no instruction.
static double CK(block_loop)(size_t rounds, float *result) {
#ifdef CK_AMX
  CK(shape_tiles)(CK_STRIP, 16);
  for (size_t round = 0; round < rounds; round++) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _Alignas(64) float sums[16 * 16];
  _tile_stored(0, sums, 64);
  CK(release_tiles)();
  *result = sums[0];
  return 4.0 * 2 * 16 * 16 * 32 * (double)rounds;
#else
  (void)rounds, (void)result;
  return 0;
#endif
}
#undef CK_TERM
#undef CK_FLUSH
#undef CK_GATE_ROW
