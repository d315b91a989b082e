// Every kernel and the table of them, for the instruction set whose file includes this one.
// The order is that of use: simd.h and math.h are what the others are written in.
#include "../table.h"
#include "simd.h"
#include "math.h"
#include "vector.h"
#include "product.h"
#include "pairs.h"
#include "blocks.h"
#include "rate.h"
#include "stream.h"
#include "layernorm.h"
#include "activation.h"
#include "random.h"
#include "rows.h"
#include "softmax.h"
#include "hash.h"
#include "features.h"
#include "loss.h"
#include "adam.h"

#define CK_ENTRY(result, name, parameters, arguments) .name = CK(name),
const struct ck_table CK(table) = {CK_FUNCTIONS(CK_ENTRY)};
const struct ck_pair_table CK(pair_table) = {CK_PAIR_FUNCTIONS(CK_ENTRY)};
