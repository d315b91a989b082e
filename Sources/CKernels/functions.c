// Functions of one number in double precision whose bits no C library decides. Sums, products and quotients
// only, each rounded once; nothing is fused. Bounds are tested in Tests/ComputeTests/FunctionTests.swift.
#include <string.h>  // memcpy, the way to the bits of a double

#include "CKernels.h"

#pragma STDC FP_CONTRACT OFF

// A number as a sum of two: the second is what rounding left out of the first.
typedef struct {
  double high, low;
} pair;

static inline pair fast_sum(double a, double b) {  // |a| >= |b|
  const double sum = a + b;
  return (pair){sum, b - (sum - a)};
}

static inline pair exact_sum(double a, double b) {
  const double sum = a + b;
  const double part = sum - a;
  return (pair){sum, (a - (sum - part)) + (b - part)};
}

// The upper 26 bits of a number, so that products of parts are exact (Dekker 1971).
static inline double upper_half(double a) {
  const double scaled = a * 0x1.0000002p27;
  return scaled - (scaled - a);
}

static inline pair exact_product(double a, double b) {
  const double product = a * b;
  const double ah = upper_half(a), bh = upper_half(b), al = a - ah, bl = b - bh;
  return (pair){product, ((ah * bh - product) + ah * bl + al * bh) + al * bl};
}

static inline pair pair_product(pair a, pair b) {
  const pair p = exact_product(a.high, b.high);
  return fast_sum(p.high, p.low + (a.high * b.low + a.low * b.high));
}

static inline uint64_t bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline double from_bits(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// The nearest integer to a number of size below 2^51, as a double.
static inline double nearest(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

// ln 2 in two parts; up to 2^11 times the first is exact.
static const double ln2_high = 0x1.62e42fefa38p-1, ln2_low = 0x1.ef35793c7673p-45;

// ln x for positive finite x, to about 2^-64 of it.
static pair logarithm(double x) {
  int exponent = 0;
  if (x < 0x1p-1022) {
    x *= 0x1p54;
    exponent = -54;
  }
  // x = 2^exponent m with m between sqrt(1/2) and sqrt(2).
  uint64_t bits = bits_of(x) - 0x3fe6a09e667f3bcdu;
  exponent += (int)((int64_t)bits >> 52);
  const double m = from_bits((bits & 0xfffffffffffffu) + 0x3fe6a09e667f3bcdu);
  // ln m = 2 artanh s = 2 (s + s^3 / 3 + ...) with s = (m - 1) / (m + 1).
  const double above = m - 1;
  const pair below = exact_sum(m, 1);
  pair s;
  s.high = above / below.high;
  const pair back = exact_product(s.high, below.high);
  s.low = (((above - back.high) - back.low) - s.high * below.low) / below.high;
  s = fast_sum(s.high, s.low);
  const pair square = pair_product(s, s);
  const double z = square.high;
  // 1/5 + z/7 + ... + z^10/25; what follows is below 2^-69 of the logarithm.
  double tail = 1.0 / 25;
  tail = tail * z + 1.0 / 23;
  tail = tail * z + 1.0 / 21;
  tail = tail * z + 1.0 / 19;
  tail = tail * z + 1.0 / 17;
  tail = tail * z + 1.0 / 15;
  tail = tail * z + 1.0 / 13;
  tail = tail * z + 1.0 / 11;
  tail = tail * z + 1.0 / 9;
  tail = tail * z + 1.0 / 7;
  tail = tail * z + 1.0 / 5;
  pair third = fast_sum(0x1.5555555555555p-2, z * tail);
  third.low += 0x1.5555555555555p-56;
  const pair cube = pair_product(pair_product(square, third), s);
  pair series = exact_sum(s.high, cube.high);
  series = fast_sum(series.high, series.low + (s.low + cube.low));
  const pair result = exact_sum(exponent * ln2_high, 2 * series.high);
  return fast_sum(result.high, result.low + (exponent * ln2_low + 2 * series.low));
}

// e^(x.high + x.low).
static double exponential(pair x) {
  if (x.high > 709.79) return __builtin_inf();
  if (x.high < -745.14) return 0;
  const double n = nearest(x.high * 0x1.71547652b82fep+0);
  // e^x = 2^n e^r with |r| <= ln 2 / 2
  const pair r = exact_sum(x.high - n * ln2_high, x.low - n * ln2_low);
  const double z = r.high;
  // (e^z - 1 - z - z^2 / 2) / z^3; the next term is below 2^-57.
  double q = 1.0 / 6227020800;
  q = q * z + 1.0 / 479001600;
  q = q * z + 1.0 / 39916800;
  q = q * z + 1.0 / 3628800;
  q = q * z + 1.0 / 362880;
  q = q * z + 1.0 / 40320;
  q = q * z + 1.0 / 5040;
  q = q * z + 1.0 / 720;
  q = q * z + 1.0 / 120;
  q = q * z + 1.0 / 24;
  q = q * z + 1.0 / 6;
  const double half_square = 0.5 * z * z;
  const pair first = fast_sum(1, z);
  const double result = first.high + (half_square + (z * z * z * q + (first.low + (r.low + r.low * z))));
  // In two steps, for results below the normal numbers and near the largest.
  const int exponent = (int)n, part = exponent / 2;
  return result * from_bits((uint64_t)(1023 + part) << 52) *
         from_bits((uint64_t)(1023 + exponent - part) << 52);
}

double ck_double_exp(double x) {
  return x != x ? x : exponential((pair){x, 0});
}

double ck_double_log(double x) {
  if (x == 0) return -__builtin_inf();
  if (!(x > 0)) return __builtin_nan("");
  if (x == __builtin_inf()) return x;
  const pair result = logarithm(x);
  return result.high + result.low;
}

double ck_double_pow(double x, double y) {
  if (y == 0 || x == 1) return 1;
  if (!(x >= 0) || y != y) return __builtin_nan("");
  if (x == 0 || x == __builtin_inf()) return (x == 0) == (y > 0) ? 0 : __builtin_inf();
  const pair log = logarithm(x);
  const double size = y * log.high;
  if (size > 800) return __builtin_inf();
  if (size < -800) return 0;
  const pair product = exact_product(y, log.high);
  return exponential(fast_sum(product.high, product.low + y * log.low));
}

// x less the nearest multiple of pi / 2, of which it is the multiple number `quarter` (of four).
static pair quarter_turn(double x, uint64_t *quarter) {
  // pi / 2 in parts of 26 bits: products with integers below 2^27 are exact.
  static const double parts[5] = {0x1.921fb5p+0, 0x1.110b46p-26, 0x1.1a6263p-54, 0x1.8a2e03p-81,
                                  0x1.c1cd128p-107};
  const double n = nearest(x * 0x1.45f306dc9c883p-1);
  *quarter = (uint64_t)(int64_t)n;
  pair rest = {x - n * parts[0], 0};
  for (int i = 1; i < 5; i++) {
    const pair next = exact_sum(rest.high, -n * parts[i]);
    rest = fast_sum(next.high, next.low + rest.low);
  }
  return rest;
}

static double sine_of_part(pair x) {
  const double z = x.high * x.high;
  double s = 1.0 / 355687428096000;
  s = s * z + -1.0 / 1307674368000;
  s = s * z + 1.0 / 6227020800;
  s = s * z + -1.0 / 39916800;
  s = s * z + 1.0 / 362880;
  s = s * z + -1.0 / 5040;
  s = s * z + 1.0 / 120;
  s = s * z + -1.0 / 6;
  return x.high + (x.high * z * s + x.low * (1 - 0.5 * z));
}

static double cosine_of_part(pair x) {
  const double z = x.high * x.high;
  double c = 1.0 / 20922789888000;
  c = c * z + -1.0 / 87178291200;
  c = c * z + 1.0 / 479001600;
  c = c * z + -1.0 / 3628800;
  c = c * z + 1.0 / 40320;
  c = c * z + -1.0 / 720;
  c = c * z + 1.0 / 24;
  const double half = 0.5 * z;
  const double start = 1 - half;
  return start + (((1 - start) - half) + (z * z * c - x.high * x.low));
}

// Sine of x plus `turn` quarters of a full turn.
static double sine_after(double x, uint64_t turn) {
  if (!(x <= 0x1p27 && x >= -0x1p27)) return __builtin_nan("");
  uint64_t quarter;
  const pair rest = quarter_turn(x, &quarter);
  quarter += turn;
  const double size = quarter & 1 ? cosine_of_part(rest) : sine_of_part(rest);
  return quarter & 2 ? -size : size;
}

double ck_double_sin(double x) { return sine_after(x, 0); }

double ck_double_cos(double x) { return sine_after(x, 1); }
