// The kernels for any CPU: registers of four lanes, which is what plain x86-64 and aarch64 have.
#define CK(name) ck_##name##_scalar
#define CK_LEVEL 0
#define CK_REGISTER 4
#include "bodies/all.h"
