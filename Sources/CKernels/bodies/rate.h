// What the processor could do at best: multiply-adds on registers, nothing else.

static double CK(fma_loop)(size_t rounds, float *result) {
  // Enough independent sums to cover the latency of the unit on every level.
  vf sum[12];
  _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++) sum[i] = (vf)(float)i;
  const vf factor = (vf)*result, term = (vf)1e-6f;
  for (size_t round = 0; round < rounds; round++) {
    _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++) {
      sum[i] = sum[i] * factor + term;
    }
  }
  vf total = (vf)0.0f;
  _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++) total += sum[i];
  store(result, 1, total);
  return 24.0 * CK_WIDTH * (double)rounds;
}
