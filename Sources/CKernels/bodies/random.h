// Philox 4x32-10 (Salmon, Moraes, Dror and Shaw 2011) and what is made of its numbers.
//
// Block b of stream `key` has the 128-bit counter (b, 0): its low two words are b, the high two are
// zero. Words are the paper's constants; a block is four numbers.

enum {
  ck_lanes64 = CK_REGISTER / 2,        // one block in each 64-bit lane
  ck_blocks_at_once = 2 * ck_lanes64,  // two vectors, so that one multiplies while the other waits
  ck_words_at_once = 4 * ck_blocks_at_once,
  ck_words_per_chunk = 256,  // stays in level 1 beside what it is applied to
};

// Low words of the 64-bit lanes of a and b, lane by lane in turn: a0 b0 a1 b1 ...
CK_INLINE ru64 pair_words(ru64 a, ru64 b) {
#if CK_REGISTER == 16
  return (ru64)__builtin_shufflevector((ru)a, (ru)b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12,
                                       28, 14, 30);
#elif CK_REGISTER == 8
  return (ru64)__builtin_shufflevector((ru)a, (ru)b, 0, 8, 2, 10, 4, 12, 6, 14);
#else
  return (ru64)__builtin_shufflevector((ru)a, (ru)b, 0, 4, 2, 6);
#endif
}

// Writes the 64-bit lanes a0 b0 a1 b1 ...
CK_INLINE void store_zipped(uint32_t *out, ru64 a, ru64 b) {
#if CK_REGISTER == 16
  ru64 low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  ru64 high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#elif CK_REGISTER == 8
  ru64 low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  ru64 high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
#else
  ru64 low = __builtin_shufflevector(a, b, 0, 2);
  ru64 high = __builtin_shufflevector(a, b, 1, 3);
#endif
  memcpy(out, &low, sizeof low);
  memcpy(out + CK_REGISTER, &high, sizeof high);
}

// The blocks that the lanes name, in order.
CK_INLINE void philox_at(uint64_t key, const ru64 blocks[2], uint32_t *out) {
  const ru64 low = 0xffffffffu;
  // Each lane's low 32 bits are the word; the high 32 hold leftovers that the next use drops.
  ru64 c0[2], c1[2], c2[2], c3[2];
  for (int u = 0; u < 2; u++) {
    c0[u] = blocks[u];
    c1[u] = c0[u] >> 32;
    c2[u] = c3[u] = 0;
  }
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  _Pragma("clang loop unroll(full)") for (int round = 0; round < 10; round++) {
    _Pragma("clang loop unroll(full)") for (int u = 0; u < 2; u++) {
      ru64 p0 = (c0[u] & low) * 0xD2511F53u;
      ru64 p1 = (c2[u] & low) * 0xCD9E8D57u;
      c0[u] = (p1 >> 32) ^ c1[u] ^ k0;
      c2[u] = (p0 >> 32) ^ c3[u] ^ k1;
      c1[u] = p1;
      c3[u] = p0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int u = 0; u < 2; u++) {
    store_zipped(out + u * 2 * CK_REGISTER, pair_words(c0[u], c1[u]), pair_words(c2[u], c3[u]));
  }
}

// Blocks block ... block + ck_blocks_at_once - 1, in order.
CK_INLINE void philox_blocks(uint64_t key, uint64_t block, uint32_t *out) {
  ru64 blocks[2];
  for (int i = 0; i < ck_lanes64; i++) blocks[0][i] = block + (uint64_t)i;
  blocks[1] = blocks[0] + (uint64_t)ck_lanes64;
  philox_at(key, blocks, out);
}

// Makes some of the numbers from `first` on, at most n. Returns how many; *numbers is where in
// `words` they begin (a block may start before `first`).
static size_t CK(philox_chunk)(uint64_t key, uint64_t first, size_t n,
                               uint32_t words[ck_words_per_chunk], const uint32_t **numbers) {
  const size_t skip = (size_t)(first & 3);
  size_t needed = n < ck_words_per_chunk ? n + skip : ck_words_per_chunk;
  if (needed > ck_words_per_chunk) needed = ck_words_per_chunk;
  for (size_t made = 0; made < needed; made += ck_words_at_once) {
    philox_blocks(key, (first >> 2) + made / 4, words + made);
  }
  *numbers = words + skip;
  return needed - skip;
}

static void CK(philox)(uint64_t key, uint64_t first, uint32_t *out, size_t n) {
  uint32_t words[ck_words_per_chunk];
  for (size_t i = 0; i < n;) {
    const uint32_t *numbers;
    const size_t count = CK(philox_chunk)(key, first + i, n - i, words, &numbers);
    memcpy(out + i, numbers, count * sizeof(uint32_t));
    i += count;
  }
}

static void CK(dropout)(float *x, size_t n, uint64_t key, uint64_t first, uint32_t threshold,
                        float scale) {
  uint32_t words[ck_words_per_chunk];
  for (size_t i = 0; i < n;) {
    const uint32_t *numbers;
    const size_t count = CK(philox_chunk)(key, first + i, n - i, words, &numbers);
    float *part = x + i;
    CK_EACH(j, m, count, {
      vu number = (vu)load(numbers + j, m);
      vf kept = load(part + j, m) * scale;
      store(part + j, m, number < threshold ? (vf)0.0f : kept);
    });
    i += count;
  }
}

static void CK(dropout_runs)(float *x, size_t rows, size_t keys, const int32_t *first,
                             const int32_t *end, const int32_t *query, const int32_t *key_position,
                             uint64_t length, uint64_t lists, uint64_t list, uint64_t key,
                             uint32_t threshold, float scale) {
  const uint64_t blocks_of_pair = (lists + 3) / 4;
  uint32_t words[ck_words_at_once];
  for (size_t i = 0; i < rows; i++) {
    const uint64_t row = (uint64_t)query[i] * length;
    const size_t after = (size_t)end[i];
    for (size_t j = (size_t)first[i]; j < after; j += ck_blocks_at_once) {
      const size_t count = after - j < ck_blocks_at_once ? after - j : ck_blocks_at_once;
      ru64 blocks[2] = {0};
      for (size_t l = 0; l < count; l++) {
        blocks[l / ck_lanes64][l % ck_lanes64] =
            (row + (uint64_t)key_position[j + l]) * blocks_of_pair + list / 4;
      }
      philox_at(key, blocks, words);
      for (size_t l = 0; l < count; l++) {
        float *element = x + i * keys + j + l;
        *element = words[4 * l + list % 4] < threshold ? 0.0f : *element * scale;
      }
    }
  }
}

// Numbers 2i and 2i + 1 of the stream give normal numbers 2i and 2i + 1 (Box and Muller 1958).
static void CK(normal)(float *out, size_t n, uint64_t key, uint64_t first) {
  uint32_t words[ck_words_per_chunk];
  float normals[ck_words_per_chunk];
  for (size_t i = 0; i < n;) {
    const uint32_t *numbers;
    // From the start of the pair; an odd `first` skips one result.
    const size_t skip = (size_t)((first + i) & 1);
    const size_t wanted = n - i + skip + 1;  // and to the end of the last pair
    size_t count = CK(philox_chunk)(key, first + i - skip, wanted, words, &numbers);
    count &= ~(size_t)1;
    for (size_t j = 0; j < count; j += 2 * CK_WIDTH) {
      const size_t pairs = count - j < 2 * CK_WIDTH ? (count - j) / 2 : CK_WIDTH;
      uint32_t even[CK_WIDTH] = {0}, odd[CK_WIDTH] = {0};
      for (size_t l = 0; l < pairs; l++) {
        even[l] = numbers[j + 2 * l];
        odd[l] = numbers[j + 2 * l + 1];
      }
      // (w + 1/2) / 2^32 is never 0, and at most 1 when it rounds up.
      vu word = (vu)load(even, CK_WIDTH);
      vf uniform = fused(__builtin_convertvector(word, vf), 0x1p-32f, 0x1p-33f);
      vf radius = __builtin_elementwise_sqrt(-2.0f * logarithm(uniform));
      vf sine, cosine;
      sine_cosine((vu)load(odd, CK_WIDTH), &sine, &cosine);
      float first_of_pair[CK_WIDTH], second_of_pair[CK_WIDTH];
      store(first_of_pair, CK_WIDTH, radius * cosine);
      store(second_of_pair, CK_WIDTH, radius * sine);
      for (size_t l = 0; l < pairs; l++) {
        normals[j + 2 * l] = first_of_pair[l];
        normals[j + 2 * l + 1] = second_of_pair[l];
      }
    }
    count -= skip;
    if (count > n - i) count = n - i;
    memcpy(out + i, normals + skip, count * sizeof(float));
    i += count;
  }
}
