// Chooses the instruction set and forwards the exported functions to its kernels.
#include <stdatomic.h>  // atomic pointer: threads may make the first call together
#include <stdlib.h>     // getenv
#include <string.h>     // strcmp

#include "table.h"

enum { LEVEL_SCALAR, LEVEL_AVX2, LEVEL_AVX512, LEVEL_COUNT };

static const char *const level_names[LEVEL_COUNT] = {"portable", "avx2", "avx512"};

static const struct ck_table *const level_tables[LEVEL_COUNT] = {
    &ck_table_scalar,
#if defined(__x86_64__)
    &ck_table_avx2,
    &ck_table_avx512,
#endif
};

static _Atomic(const struct ck_table *) active_table;
static _Thread_local const struct ck_table *thread_table;  // set by tests, else NULL

int ck_best_level(void) {
#if defined(__x86_64__)
  // The runtime behind __builtin_cpu_supports reports a feature only when the operating system also
  // saves the registers it needs (XCR0: ymm for AVX2; zmm and mask registers for AVX-512).
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
      return LEVEL_AVX512;
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
    if (strcmp(wanted, level_names[level]) == 0) return level;
  }
  return best;
}

const char *ck_refused_level(void) {
  const char *wanted = getenv("REFORMER_INSTRUCTIONS");
  return wanted && strcmp(wanted, level_names[first_level()]) != 0 ? wanted : NULL;
}

int ck_level_is_forced(void) { return first_level() != ck_best_level(); }

// The table in use. Two threads that both find none choose the same one, so the race is harmless.
static const struct ck_table *table(void) {
  if (__builtin_expect(thread_table != NULL, 0)) return thread_table;
  const struct ck_table *current = atomic_load_explicit(&active_table, memory_order_relaxed);
  if (__builtin_expect(current == NULL, 0)) {
    current = level_tables[first_level()];
    atomic_store_explicit(&active_table, current, memory_order_relaxed);
  }
  return current;
}

int ck_active_level(void) {
  const struct ck_table *current = table();
  int level = LEVEL_SCALAR;
  while (level_tables[level] != current) level++;
  return level;
}

int ck_set_level(int level) {
  if (level < LEVEL_SCALAR || level > ck_best_level()) return -1;
  atomic_store_explicit(&active_table, level_tables[level], memory_order_relaxed);
  return 0;
}

int ck_set_thread_level(int level) {
  if (level > ck_best_level()) return -1;
  thread_table = level < LEVEL_SCALAR ? NULL : level_tables[level];
  return 0;
}

const char *ck_level_name(int level) {
  return level >= LEVEL_SCALAR && level < LEVEL_COUNT ? level_names[level] : "unknown";
}

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

#define CK_FORWARD(result, name, parameters, arguments) \
  result ck_##name parameters { return table()->name arguments; }
CK_FUNCTIONS(CK_FORWARD)
