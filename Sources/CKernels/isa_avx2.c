// The kernels for x86-64 CPUs with AVX2 and FMA: registers of eight lanes.
#if defined(__x86_64__)
#include <immintrin.h>  // loads and stores under a mask
#define CK(name) ck_##name##_avx2
#define CK_LEVEL 1
#define CK_REGISTER 8
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "bodies/all.h"
#pragma clang attribute pop
#endif
