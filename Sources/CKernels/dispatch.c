// Chooses the instruction set and forwards the exported functions to its kernels.
#define _GNU_SOURCE
#include <stdatomic.h>  // atomic pointer: threads may make the first call together
#include <stdlib.h>     // getenv
#include <string.h>     // strcmp
#if defined(__x86_64__)
#include <cpuid.h>        // __get_cpuid_count
#include <sys/syscall.h>  // SYS_arch_prctl
#include <unistd.h>       // syscall
#endif

#include "table.h"

enum { LEVEL_SCALAR, LEVEL_AVX2, LEVEL_AVX512, LEVEL_AVX512_BF16, LEVEL_AMX, LEVEL_COUNT };

struct level {
  const char *name;
  const struct ck_table *kernels;
  const struct ck_pair_table *pairs;
};

static const struct level levels[LEVEL_COUNT] = {
    {"portable", &ck_table_scalar, &ck_pair_table_scalar},
#if defined(__x86_64__)
    {"avx2", &ck_table_avx2, &ck_pair_table_avx2},
    {"avx512", &ck_table_avx512, &ck_pair_table_avx512},
    {"avx512-bf16", &ck_table_avx512, &ck_pair_table_avx512_bf16},
    {"amx", &ck_table_avx512, &ck_pair_table_amx},
#endif
};

static _Atomic(const struct level *) active_level;
static _Thread_local const struct level *thread_level;  // set by tests, else NULL

#if defined(__x86_64__)
// Whether the processor has AMX tiles of bf16 numbers and the system lets this process use them, which it is asked
// once: a thread's state grows by 8 KiB with its first tile.
static int has_tiles(void) {
  static _Atomic(int) answer;  // 0 unknown, 1 no, 2 yes; threads that ask together hear the same
  int known = atomic_load_explicit(&answer, memory_order_relaxed);
  if (known == 0) {
    enum { request = 0x1023, tile_data = 18 };  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    unsigned a, b, c, d = 0;
    const int is_there = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 1);
    known = is_there && syscall(SYS_arch_prctl, request, tile_data) == 0 ? 2 : 1;
    atomic_store_explicit(&answer, known, memory_order_relaxed);
  }
  return known == 2;
}
#endif

int ck_best_level(void) {
#if defined(__x86_64__)
  // The runtime behind __builtin_cpu_supports reports a feature only when the operating system also
  // saves the registers it needs (XCR0: ymm for AVX2; zmm and mask registers for AVX-512).
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
      if (!__builtin_cpu_supports("avx512bf16")) return LEVEL_AVX512;
      return has_tiles() ? LEVEL_AMX : LEVEL_AVX512_BF16;
    }
    return LEVEL_AVX2;
  }
#endif
  return LEVEL_SCALAR;
}

// The level that the environment asks for; the best one where it asks for nothing, or for what this CPU
// or this program has not (ck_refused_level says so to whoever starts a run).
static int first_level(void) {
  const char *wanted = getenv("REFORMER_INSTRUCTIONS");
  const int best = ck_best_level();
  for (int level = 0; wanted && level <= best; level++) {
    if (strcmp(wanted, levels[level].name) == 0) return level;
  }
  return best;
}

const char *ck_refused_level(void) {
  const char *wanted = getenv("REFORMER_INSTRUCTIONS");
  return wanted && strcmp(wanted, levels[first_level()].name) != 0 ? wanted : NULL;
}

int ck_level_is_forced(void) { return first_level() != ck_best_level(); }

// The level in use. Two threads that both find none choose the same one, so the race is harmless.
static const struct level *level_in_use(void) {
  if (__builtin_expect(thread_level != NULL, 0)) return thread_level;
  const struct level *current = atomic_load_explicit(&active_level, memory_order_relaxed);
  if (__builtin_expect(current == NULL, 0)) {
    current = &levels[first_level()];
    atomic_store_explicit(&active_level, current, memory_order_relaxed);
  }
  return current;
}

int ck_active_level(void) { return (int)(level_in_use() - levels); }

int ck_set_level(int level) {
  if (level < LEVEL_SCALAR || level > ck_best_level()) return -1;
  atomic_store_explicit(&active_level, &levels[level], memory_order_relaxed);
  return 0;
}

int ck_set_thread_level(int level) {
  if (level > ck_best_level()) return -1;
  thread_level = level < LEVEL_SCALAR ? NULL : &levels[level];
  return 0;
}

const char *ck_level_name(int level) {
  return level >= LEVEL_SCALAR && level < LEVEL_COUNT && levels[level].name ? levels[level].name
                                                                            : "unknown";
}

int ck_has_pair_instruction(void) { return ck_active_level() >= LEVEL_AVX512_BF16; }

int ck_has_tiles(void) { return ck_active_level() >= LEVEL_AMX; }

// Plain C for the published test vectors, and the reference for the kernels of bodies/random.h.
void ck_philox_block(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = (uint64_t)c[0] * 0xD2511F53u;
    const uint64_t p1 = (uint64_t)c[2] * 0xCD9E8D57u;
    c[0] = (uint32_t)(p1 >> 32) ^ c[1] ^ k0;
    c[1] = (uint32_t)p1;
    c[2] = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
    c[3] = (uint32_t)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int i = 0; i < 4; i++) out[i] = c[i];
}

// The transposes of squares of 32 rows and 32 pairs: each is rounded as a left side, and then turned.
void ck_pairs_transposed(const float *rows, size_t row_stride, size_t count, size_t columns,
                         uint32_t *strips, size_t strip_stride) {
  uint32_t square[CK_STRIP * CK_STRIP];
  for (size_t j = 0; j < columns; j += 2 * CK_STRIP) {
    const size_t width = columns - j < 2 * CK_STRIP ? columns - j : 2 * CK_STRIP;
    for (size_t i = 0; i < count; i += CK_STRIP) {
      const size_t height = count - i < CK_STRIP ? count - i : CK_STRIP;
      ck_round_pairs(rows + i * row_stride + j, row_stride, CK_STRIP, height, width, square,
                     sizeof square / sizeof *square, NULL, 0);
      ck_strips_transposed((const float *)square, CK_STRIP, height, (width + 1) / 2,
                           (float *)(strips + i / CK_STRIP * strip_stride + j / 2 * CK_STRIP),
                           strip_stride);
    }
  }
}

#define CK_FORWARD(result, name, parameters, arguments) \
  result ck_##name parameters { return level_in_use()->kernels->name arguments; }
CK_FUNCTIONS(CK_FORWARD)
#define CK_FORWARD_PAIRS(result, name, parameters, arguments) \
  result ck_##name parameters { return level_in_use()->pairs->name arguments; }
CK_PAIR_FUNCTIONS(CK_FORWARD_PAIRS)
