// The kernels for AVX2 with FMA.
#include "job.h"

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define JAXRNN_ISA avx2
#define JAXRNN_BYTES 32
#include "kernels.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
