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
#define VMIN_f32(a, b) _mm256_min_ps(a, b)
#define VMIN_f64(a, b) _mm256_min_pd(a, b)
#define VMAX_f32(a, b) _mm256_max_ps(a, b)
#define VMAX_f64(a, b) _mm256_max_pd(a, b)
#define VSQRT_f32(a) _mm256_sqrt_ps(a)
#define VSQRT_f64(a) _mm256_sqrt_pd(a)
#define FIRST_f32(n) _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define FIRST_f64(n) _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3))
#define VLOAD_f32(p, n) _mm256_maskload_ps(p, FIRST_f32(n))
#define VLOAD_f64(p, n) _mm256_maskload_pd(p, FIRST_f64(n))
#define VSTORE_f32(p, x, n) _mm256_maskstore_ps(p, FIRST_f32(n), x)
#define VSTORE_f64(p, x, n) _mm256_maskstore_pd(p, FIRST_f64(n), x)
#define VMUL32(a, b) _mm256_mul_epu32((__m256i)(a), (__m256i)(b))

#include "isa.inc"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
