// Every kernel on fixed made-up inputs, a digest of each result: what must be equal on every processor.
#pragma once
#include <stdint.h>

/// Calls `each` with the name of every case and the digest of its results, at the calling thread's level.
void kernel_golden(void (*each)(const char *name, uint64_t digest, void *context), void *context);
