// Layer normalisation.

// Sum of squared deviations from the mean; unused lanes would contribute mean^2 and are cleared.
CK_INLINE float squared_deviations(const float *x, size_t n, float mean) {
  vf sum[4] = {0};
  CK_EACH4(j, m, k, n, {
    vf d = load(x + j, m) - mean;
    if (m < CK_WIDTH) d = lanes_below(m) ? d : (vf)0.0f;
    sum[k] = fused(d, d, sum[k]);
  });
  return sum_of_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static void CK(layernorm_forward)(const float *x, size_t x_stride, size_t rows, size_t width,
                                  const float *gain, const float *bias, float epsilon, float *out,
                                  size_t out_stride, float *mean, float *rstd) {
  for (size_t i = 0; i < rows; i++) {
    const float *row = x + i * x_stride;
    float *to = out + i * out_stride;
    float center = row_sum(row, width) / (float)width;
    float variance = squared_deviations(row, width, center) / (float)width;
    float r = 1.0f / __builtin_sqrtf(variance + epsilon);
    CK_EACH(j, m, width, {
      vf normal = (load(row + j, m) - center) * r;
      store(to + j, m, fused(normal, load(gain + j, m), load(bias + j, m)));
    });
    mean[i] = center;
    rstd[i] = r;
  }
}

// With n = (x - mean) * rstd and g = dy * gain:
// dx += rstd * (g - mean(g) - n * mean(g * n)), dgain += dy * n, dbias += dy.
static void CK(layernorm_backward)(const float *dy, size_t dy_stride, const float *x,
                                   size_t x_stride, size_t rows, size_t width, const float *gain,
                                   const float *mean, const float *rstd, float *dx,
                                   size_t dx_stride, float *dgain, float *dbias) {
  // Some rows at a time, so that dgain and dbias stay in registers over them; each of their
  // elements still sums the rows one after the other.
  enum { block = 8 };
  for (size_t start = 0; start < rows; start += block) {
    size_t end = rows - start < block ? rows : start + block;
    CK_EACH(j, m, width, {
      vf gain_sum = load(dgain + j, m);
      vf bias_sum = load(dbias + j, m);
      for (size_t i = start; i < end; i++) {
        vf d = load(dy + i * dy_stride + j, m);
        vf normal = (load(x + i * x_stride + j, m) - mean[i]) * rstd[i];
        gain_sum = fused(d, normal, gain_sum);
        bias_sum += d;
      }
      store(dgain + j, m, gain_sum);
      store(dbias + j, m, bias_sum);
    });
    for (size_t i = start; i < end; i++) {
      const float *dy_row = dy + i * dy_stride;
      const float *row = x + i * x_stride;
      float *dx_row = dx + i * dx_stride;
      float center = mean[i], r = rstd[i];
      vf sum[4] = {0}, product[4] = {0};
      CK_EACH4(j, m, k, width, {
        vf g = load(dy_row + j, m) * load(gain + j, m);
        vf normal = (load(row + j, m) - center) * r;
        sum[k] += g;
        product[k] = fused(g, normal, product[k]);
      });
      float g_mean = sum_of_lanes((sum[0] + sum[1]) + (sum[2] + sum[3])) / (float)width;
      float gn_mean =
          sum_of_lanes((product[0] + product[1]) + (product[2] + product[3])) / (float)width;
      CK_EACH(j, m, width, {
        vf g = load(dy_row + j, m) * load(gain + j, m);
        vf normal = (load(row + j, m) - center) * r;
        vf d = fused(-normal, gn_mean, g - g_mean);
        store(dx_row + j, m, fused(d, r, load(dx_row + j, m)));
      });
    }
  }
}
