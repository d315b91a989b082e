// The cases as a program, for processors that this machine only emulates (launch/arm.sh).
#include <inttypes.h>
#include <stdio.h>

#include "CKernels.h"
#include "KernelGolden.h"

static void print_line(const char *name, uint64_t digest, void *context) {
  (void)context;
  printf("%s %016" PRIx64 "\n", name, digest);
}

int main(void) {
  if (ck_refused_level()) return 3;  // REFORMER_INSTRUCTIONS names no level of this processor
  kernel_golden(print_line, NULL);
  return 0;
}
