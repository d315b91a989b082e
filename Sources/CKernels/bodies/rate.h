// What the processor could do at best: multiply-adds on registers, nothing else.

static double CK(fma_loop)(size_t rounds, float *result) {
  // Enough independent sums to cover the latency of the unit on every level.
  rf sum[12];
  _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++) sum[i] = (rf)(float)i;
  const rf factor = (rf)*result, term = (rf)1e-6f;
  for (size_t round = 0; round < rounds; round++) {
    _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++) {
      sum[i] = fused_register(sum[i], factor, term);
    }
  }
  rf total = (rf)0.0f;
  _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++) total += sum[i];
  *result = total.x;
  return 24.0 * CK_REGISTER * (double)rounds;
}
