/* isa_avx2.c: AVX2 and FMA, for x86-64 since 2013. */
#include "internal.h"

#if TAE_X86
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define ISA_TABLE tae_avx2
#define ISA_NAME "avx2"
#define HAS_FMA 1

#define VECTOR_BYTES 32
#define GEMM_VECTORS 2
#define GEMM_ROWS {12, 6}  /* 12 of 16 registers accumulate */
#define GEMM_TILES ROWS_12(1) ROWS_6(2)
#define VFMA_f32(a, b, c) _mm256_fmadd_ps(a, b, c)
#define VFMA_f64(a, b, c) _mm256_fmadd_pd(a, b, c)

#include "isa.inc"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
