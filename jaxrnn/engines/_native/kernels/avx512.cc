// The kernels for AVX-512.
#include "job.h"

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma")
#endif
#define JAXRNN_ISA avx512
#define JAXRNN_BYTES 64
#include "kernels.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
