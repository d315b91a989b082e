// The kernels for x86-64 CPUs with AVX-512 F, DQ, BW and VL: registers of sixteen lanes.
#if defined(__x86_64__)
#include <immintrin.h>  // loads and stores under a mask
#define CK(name) ck_##name##_avx512
#define CK_LEVEL 2
#define CK_REGISTER 16
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma,avx2"))), apply_to = function)
#include "bodies/all.h"
#pragma clang attribute pop
#endif
