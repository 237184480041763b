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
#define GEMM_WIDEST ROWS_6(2)
#define VFMA_f32(a, b, c) _mm256_fmadd_ps(a, b, c)
#define VFMA_f64(a, b, c) _mm256_fmadd_pd(a, b, c)
#define VMIN_f32(a, b) _mm256_min_ps(a, b)
#define VMIN_f64(a, b) _mm256_min_pd(a, b)
#define VMAX_f32(a, b) _mm256_max_ps(a, b)
#define VMAX_f64(a, b) _mm256_max_pd(a, b)
#define VSQRT_f32(a) _mm256_sqrt_ps(a)
#define VSQRT_f64(a) _mm256_sqrt_pd(a)
#define ENTRIES 8
#define VENTRY_f32(table, i) _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), (__m256i)(i))
#define VMASK_f32 __m256
#define VMASK_f64 __m256d
#define VLESS_f32(a, b) _mm256_cmp_ps(a, b, _CMP_LT_OQ)
#define VLESS_f64(a, b) _mm256_cmp_pd(a, b, _CMP_LT_OQ)
#define VAT_MOST_f32(a, b) _mm256_cmp_ps(a, b, _CMP_LE_OQ)
#define VAT_MOST_f64(a, b) _mm256_cmp_pd(a, b, _CMP_LE_OQ)
#define VSELECT_f32(mask, a, b) _mm256_blendv_ps(b, a, mask)
#define VSELECT_f64(mask, a, b) _mm256_blendv_pd(b, a, mask)
#define INDEX_f32(n) _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define INDEX_f64(n) _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3))
#define VFIRST_f32(n) _mm256_castsi256_ps(INDEX_f32(n))
#define VFIRST_f64(n) _mm256_castsi256_pd(INDEX_f64(n))
#define VLOAD_f32(p, n) _mm256_maskload_ps(p, INDEX_f32(n))
#define VLOAD_f64(p, n) _mm256_maskload_pd(p, INDEX_f64(n))
#define VSTORE_f32(p, x, n) _mm256_maskstore_ps(p, INDEX_f32(n), x)
#define VSTORE_f64(p, x, n) _mm256_maskstore_pd(p, INDEX_f64(n), x)
#define VMUL32(a, b) _mm256_mul_epu32((__m256i)(a), (__m256i)(b))

#include "isa.inc"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
