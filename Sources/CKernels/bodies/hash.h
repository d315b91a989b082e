// Hash buckets from rotated vectors, and the stable sort by bucket.

// Index of the largest of [x; -x], the first one where several are equal. 0 if x holds NaN only.
CK_INLINE int32_t signed_arg_max(const float *x, size_t n) {
  vf largest = 0.0f;
  CK_EACH(j, m, n, { largest = maximum_of(absolute(load(x + j, m)), largest); });
  const float top = largest_lane(largest);
  // The winner is +top or -top; every index of a positive one is below every negative one's.
  const int32_t none = INT32_MAX;
  vi winner = none;
  CK_EACH(j, m, n, {
    vf v = load(x + j, m);
    vi at = lane_numbers() + (int32_t)j;
    vi candidate = v == top ? at : (v == -top ? at + (int32_t)n : (vi)none);
    if (m < CK_WIDTH) candidate = lanes_below(m) ? candidate : (vi)none;
    winner = candidate < winner ? candidate : winner;
  });
  const int32_t found = smallest_int_lane(winner);
  return found == none ? 0 : found;
}

static void CK(hash_buckets)(const float *rotated, size_t stride, size_t rows,
                             const int32_t *factors, size_t factor_count, int32_t *buckets) {
  for (size_t i = 0; i < rows; i++) {
    const float *row = rotated + i * stride;
    int32_t bucket = 0, weight = 1;
    for (size_t f = 0; f < factor_count; f++) {
      const size_t half = (size_t)factors[f] / 2;
      bucket += weight * signed_arg_max(row, half);
      weight *= factors[f];
      row += half;
    }
    buckets[i] = bucket;
  }
}
