// Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019), and averages of what it moves.

static void CK(adam)(float *p, const float *gradient, float *m, float *v, size_t n,
                     float gradient_scale, float rate, float beta1, float beta2, float epsilon,
                     float decay, float first_correction, float second_correction) {
  const float first = 1.0f / first_correction;
  const float second = 1.0f / second_correction;
  CK_EACH(j, lanes, n, {
    vf g = load(gradient + j, lanes) * gradient_scale;
    vf mean = fused(load(m + j, lanes), beta1, (1.0f - beta1) * g);
    vf square = fused(load(v + j, lanes), beta2, (1.0f - beta2) * g * g);
    vf old = load(p + j, lanes);
    vf update = mean * first / (__builtin_elementwise_sqrt(square * second) + epsilon);
    store(m + j, lanes, mean);
    store(v + j, lanes, square);
    store(p + j, lanes, fused(-rate, fused(decay, old, update), old));
  });
}

static void CK(follow)(float *average, const float *values, size_t n, float share) {
  CK_EACH(j, lanes, n, {
    vf old = load(average + j, lanes);
    store(average + j, lanes, fused(share, load(values + j, lanes) - old, old));
  });
}
