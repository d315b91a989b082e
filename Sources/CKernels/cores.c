// What Swift cannot ask the C library for: the affinity mask comes in macros.
#define _GNU_SOURCE
#include <sched.h>   // sched_getaffinity
#include <unistd.h>  // sysconf

#include "CKernels.h"

int ck_core_count(void) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
  const long online = sysconf(_SC_NPROCESSORS_ONLN);  // more cores than a mask of fixed size holds
  return online > 0 ? (int)online : 1;
}
