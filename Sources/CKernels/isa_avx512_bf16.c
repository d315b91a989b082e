// The products of bf16 numbers for x86-64 CPUs that have an instruction for them beside the AVX-512 ones.
#if defined(__x86_64__)
#include <immintrin.h>  // loads and stores under a mask, and the instruction
#define CK(name) ck_##name##_avx512_bf16
#define CK_LEVEL 2
#define CK_REGISTER 16
#define CK_BF16 1
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,fma,avx2"))), \
    apply_to = function)
#include "table.h"
#include "bodies/simd.h"
#include "bodies/pairs.h"
#include "bodies/blocks.h"
#define CK_ENTRY(result, name, parameters, arguments) .name = CK(name),
const struct ck_pair_table CK(pair_table) = {CK_PAIR_FUNCTIONS(CK_ENTRY)};
#pragma clang attribute pop
#endif
