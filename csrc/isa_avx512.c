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
#define VFMA_f32(a, b, c) _mm512_fmadd_ps(a, b, c)
#define VFMA_f64(a, b, c) _mm512_fmadd_pd(a, b, c)

#include "isa.inc"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
