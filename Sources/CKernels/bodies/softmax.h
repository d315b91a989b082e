// Softmax of score tiles under the causal and the self mask, and the merging of partial results.

// Rows taken together, so that one row's exponentials run while the next one's maximum is found.
enum { ck_softmax_rows = 8 };

// A score after masking: -infinity for keys after the last that the query sees (their probability is
// exactly 0) and for unused lanes, -1e5 for the query itself (Hugging Face's self_mask_value_float32).
CK_INLINE vf masked_logit(vf score, vi key, int32_t query, int32_t last, int mask_self, size_t m) {
  const vf never = (vf)-__builtin_inff();
  if (mask_self) score = key == query ? (vf)-1e5f : score;
  score = key > last ? never : score;
  if (m < CK_WIDTH) score = lanes_below(m) ? score : never;
  return score;
}

// The last key that a query sees.
CK_INLINE int32_t last_seen(int32_t query, int32_t through) {
  return query > through ? query : through;
}

CK_INLINE void softmax_rows(float *scores, size_t rows, size_t keys, const int32_t *query_position,
                            const int32_t *key_position, int32_t through, int mask_self,
                            float *row_max, float *row_sum) {
  for (size_t i = 0; i < rows; i++) {
    float *row = scores + i * keys;
    const int32_t query = query_position[i], last = last_seen(query, through);
    vf largest = (vf)-__builtin_inff();
    CK_EACH(j, m, keys, {
      vi key = load_int(key_position + j, m);
      vf v = masked_logit(load(row + j, m), key, query, last, mask_self, m);
      store(row + j, m, v);
      largest = maximum_of(v, largest);
    });
    row_max[i] = largest_lane(largest);
  }
  for (size_t i = 0; i < rows; i++) {
    float *row = scores + i * keys;
    // With every key masked all logits are -infinity; minus this finite maximum they still are.
    if (row_max[i] == -__builtin_inff()) row_max[i] = -1e9f;
    const float top = row_max[i];
    vf sum = 0;
    CK_EACH(j, m, keys, {
      vf e = exponential_to_88(load(row + j, m) - top);
      if (m < CK_WIDTH) e = lanes_below(m) ? e : (vf)0.0f;
      store(row + j, m, e);
      sum += e;
    });
    row_sum[i] = sum_of_lanes(sum);
  }
}

static void CK(masked_softmax)(float *scores, size_t rows, size_t keys,
                               const int32_t *query_position, const int32_t *key_position,
                               int32_t through, int mask_self, float *row_max, float *row_sum) {
  for (size_t i = 0; i < rows; i += ck_softmax_rows) {
    const size_t some = rows - i < ck_softmax_rows ? rows - i : ck_softmax_rows;
    softmax_rows(scores + i * keys, some, keys, query_position + i, key_position, through,
                 mask_self, row_max + i, row_sum + i);
  }
}

// Logit of a key that counts only where there is no other: the query itself.
#define CK_LAST_RESORT -1e5f

// The exponentials of a row, its maximum and its sum, as functions of its n numbers alone.
CK_INLINE float row_maximum(const float *row, size_t n) {
  vf largest = (vf)-__builtin_inff();
  CK_EACH(j, m, n, {
    vf v = load(row + j, m);
    if (m < CK_WIDTH) v = lanes_below(m) ? v : (vf)-__builtin_inff();
    largest = maximum_of(v, largest);
  });
  return largest_lane(largest);
}

CK_INLINE float row_exponentials(float *row, size_t n, float top) {
  vf sum = 0;
  CK_EACH(j, m, n, {
    vf e = exponential_to_88(load(row + j, m) - top);
    if (m < CK_WIDTH) e = lanes_below(m) ? e : (vf)0.0f;
    store(row + j, m, e);
    sum += e;
  });
  return sum_of_lanes(sum);
}

// Zeros before and after a run of a row.
CK_INLINE void clear_outside(float *row, size_t keys, size_t first, size_t end) {
  memset(row, 0, first * sizeof(float));
  memset(row + end, 0, (keys - end) * sizeof(float));
}

static void CK(run_softmax)(float *scores, size_t rows, size_t keys, const int32_t *first,
                            const int32_t *end, int last_resort, float *row_max, float *row_sum) {
  for (size_t start = 0; start < rows; start += ck_softmax_rows) {
    const size_t stop = rows - start < ck_softmax_rows ? rows : start + ck_softmax_rows;
    for (size_t i = start; i < stop; i++) {
      const size_t begin = (size_t)first[i], after = (size_t)end[i];
      float *row = scores + i * keys;
      clear_outside(row, keys, begin, after);
      if (last_resort) row[after - 1] = CK_LAST_RESORT;
      // As of a row with every key masked.
      row_max[i] = begin < after ? row_maximum(row + begin, after - begin) : -1e9f;
    }
    for (size_t i = start; i < stop; i++) {
      row_sum[i] = row_exponentials(scores + i * keys + first[i], (size_t)(end[i] - first[i]),
                                    row_max[i]);
    }
  }
}

static void CK(run_softmax_backward)(float *scores, float *dp, size_t rows, size_t keys,
                                     const int32_t *first, const int32_t *end, int last_resort,
                                     const float *maximum, const float *sum, const float *d) {
  for (size_t i = 0; i < rows; i++) {
    const size_t begin = (size_t)first[i], count = (size_t)(end[i] - first[i]);
    clear_outside(scores + i * keys, keys, begin, begin + count);
    clear_outside(dp + i * keys, keys, begin, begin + count);
    float *row = scores + i * keys + begin, *dp_row = dp + i * keys + begin;
    if (last_resort) row[count - 1] = CK_LAST_RESORT;
    const float top = maximum[i], shift = d[i];
    // Rows of padding have sum 0. A sum that is NaN must come through.
    const float weight = sum[i] == 0.0f ? 0.0f : 1.0f / sum[i];
    CK_EACH(j, m, count, {
      vf p = exponential_to_88(load(row + j, m) - top) * weight;
      store(row + j, m, p);
      store(dp_row + j, m, p * (load(dp_row + j, m) - shift));
    });
    if (last_resort) dp_row[count - 1] = 0.0f;  // that logit does not depend on the score
  }
}

static void CK(merge_rows)(float *out, size_t out_stride, float *maximum, float *sum,
                           size_t stat_stride, const int32_t *index, size_t rows, size_t width,
                           int32_t limit, const float *partial, const float *partial_max,
                           const float *partial_sum) {
  for (size_t i = 0; i < rows; i++) {
    if (is_padding(index[i], limit)) continue;
    const size_t at = (size_t)index[i];
    const float old_max = maximum[at * stat_stride];
    const float new_max = partial_max[i];
    // The side with the larger maximum keeps its weight 1, the other shrinks.
    const float ratio = exponential_to_88((vf)-__builtin_fabsf(old_max - new_max)).x;
    const float keep = old_max > new_max ? 1.0f : ratio;
    const float take = old_max > new_max ? ratio : 1.0f;
    float *to = out + at * out_stride;
    const float *from = partial + i * width;
    CK_EACH(j, m, width, {
      store(to + j, m, fused(load(to + j, m), keep, load(from + j, m) * take));
    });
    maximum[at * stat_stride] = old_max > new_max ? old_max : new_max;
    sum[at * stat_stride] = fused_number(sum[at * stat_stride], keep, partial_sum[i] * take);
  }
}

static void CK(normalize_rows)(float *x, size_t x_stride, size_t rows, size_t width,
                               const float *sum, size_t sum_stride) {
  for (size_t i = 0; i < rows; i++) {
    float *row = x + i * x_stride;
    const float divisor = sum[i * sum_stride];
    CK_EACH(j, m, width, { store(row + j, m, load(row + j, m) / divisor); });
  }
}

static void CK(masked_softmax_backward)(float *scores, float *dp, size_t rows, size_t keys,
                                        const int32_t *query_position,
                                        const int32_t *key_position, int32_t through,
                                        int mask_self, const float *maximum, const float *sum,
                                        const float *d) {
  for (size_t i = 0; i < rows; i++) {
    float *row = scores + i * keys;
    float *dp_row = dp + i * keys;
    const int32_t query = query_position[i], last = last_seen(query, through);
    const float top = maximum[i];
    // Nothing seen: nothing to share. A sum that is NaN must come through.
    const float weight = sum[i] == 0.0f ? 0.0f : 1.0f / sum[i];
    const float shift = d[i];
    CK_EACH(j, m, keys, {
      vi key = load_int(key_position + j, m);
      vf logit = masked_logit(load(row + j, m), key, query, last, mask_self, m);
      vf p = exponential_to_88(logit - top) * weight;
      vf ds = p * (load(dp_row + j, m) - shift);
      // Masked and replaced logits do not depend on the score.
      vi fixed = key > last;
      if (mask_self) fixed |= key == query;
      store(row + j, m, p);
      store(dp_row + j, m, fixed ? (vf)0.0f : ds);
    });
  }
}
