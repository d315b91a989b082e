// Cross-entropy of rows of logits, and logits mixed with probabilities.

static void CK(mix_logits)(float *probabilities, float weight, const float *logits,
                           float logit_weight, float *out, size_t n) {
  CK_EACH(j, m, n, {
    const vf least = (vf)0.0f + 1e-30f;  // far below what matters, and a normal number
    vf p = load(probabilities + j, m);
    p = logarithm(p < least ? least : p);
    store(probabilities + j, m, p);
    store(out + j, m, fused(weight, p, logit_weight * load(logits + j, m)));
  });
}

static void CK(cross_entropy)(float *logits, size_t stride, size_t rows, size_t classes,
                              const int32_t *targets, int gradient, float gradient_scale,
                              float *row_loss) {
  for (size_t i = 0; i < rows; i++) {
    float *row = logits + i * stride;
    const int32_t target = targets[i];
    if (target < 0) {
      row_loss[i] = 0.0f;
      if (gradient) memset(row, 0, classes * sizeof(float));
      continue;
    }
    if ((size_t)target >= classes) __builtin_trap();
    const float target_logit = row[target];

    vf largest[4];
    for (int k = 0; k < 4; k++) largest[k] = (vf)-__builtin_inff();
    CK_EACH4(j, m, k, classes, {
      vf v = load(row + j, m);
      if (m < CK_WIDTH) v = lanes_below(m) ? v : (vf)-__builtin_inff();
      largest[k] = maximum_of(v, largest[k]);
    });
    const float top = largest_lane(
        maximum_of(maximum_of(largest[0], largest[1]), maximum_of(largest[2], largest[3])));

    vf sums[4] = {0};
    CK_EACH4(j, m, k, classes, {
      vf e = exponential_to_88(load(row + j, m) - top);
      if (m < CK_WIDTH) e = lanes_below(m) ? e : (vf)0.0f;
      sums[k] += e;
      if (gradient) store(row + j, m, e);
    });
    const float sum = sum_of_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
    row_loss[i] = logarithm((vf)sum).x + (top - target_logit);

    if (gradient) {
      const float factor = gradient_scale / sum;
      CK_EACH(j, m, classes, { store(row + j, m, load(row + j, m) * factor); });
      row[target] -= gradient_scale;
    }
  }
}
