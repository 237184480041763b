/* isa_avx512.c: AVX-512 F, BW, DQ and VL, for x86-64 servers since 2017. */
#include "internal.h"

#if TAE_X86
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#endif

#define ISA_TABLE tae_avx512
#define ISA_NAME "avx512"
#define HAS_FMA 1

#define VECTOR_BYTES 64
#define GEMM_VECTORS 4
#define GEMM_ROWS {12, 12, 8, 6}  /* 24 of 32 registers accumulate */
#define GEMM_TILES ROWS_12(1) ROWS_12(2) ROWS_8(3) ROWS_6(4)
#define GEMM_WIDEST ROWS_6(4)
#define VFMA_f32(a, b, c) _mm512_fmadd_ps(a, b, c)
#define VFMA_f64(a, b, c) _mm512_fmadd_pd(a, b, c)
#define VMIN_f32(a, b) _mm512_min_ps(a, b)
#define VMIN_f64(a, b) _mm512_min_pd(a, b)
#define VMAX_f32(a, b) _mm512_max_ps(a, b)
#define VMAX_f64(a, b) _mm512_max_pd(a, b)
#define VSQRT_f32(a) _mm512_sqrt_ps(a)
#define VSQRT_f64(a) _mm512_sqrt_pd(a)
#define VSCALE_f32(x, n) _mm512_scalef_ps(x, n)
#define VSCALE_f64(x, n) _mm512_scalef_pd(x, n)
#define ENTRIES 16
#define VENTRY_f32(table, i) _mm512_permutexvar_ps((__m512i)(i), _mm512_loadu_ps(table))
#define VMASK_f32 __mmask16
#define VMASK_f64 __mmask8
#define VLESS_f32(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)
#define VLESS_f64(a, b) _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ)
#define VAT_MOST_f32(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ)
#define VAT_MOST_f64(a, b) _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ)
#define VSELECT_f32(mask, a, b) _mm512_mask_blend_ps(mask, b, a)
#define VSELECT_f64(mask, a, b) _mm512_mask_blend_pd(mask, b, a)
#define VFIRST_f32(n) (__mmask16)((1u << (n)) - 1)
#define VFIRST_f64(n) (__mmask8)((1u << (n)) - 1)
#define VLOAD_f32(p, n) _mm512_maskz_loadu_ps(VFIRST_f32(n), p)
#define VLOAD_f64(p, n) _mm512_maskz_loadu_pd(VFIRST_f64(n), p)
#define VSTORE_f32(p, x, n) _mm512_mask_storeu_ps(p, VFIRST_f32(n), x)
#define VSTORE_f64(p, x, n) _mm512_mask_storeu_pd(p, VFIRST_f64(n), x)
#define VMUL32(a, b) _mm512_mul_epu32((__m512i)(a), (__m512i)(b))

#include "isa.inc"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
