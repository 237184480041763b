/* isa_neon.c: Advanced SIMD, for every 64-bit ARM. */
#include "internal.h"

#if TAE_NEON
#include <arm_neon.h>

#define ISA_TABLE tae_neon
#define ISA_NAME "neon"
#define HAS_FMA 1

#define VECTOR_BYTES 16
#define GEMM_VECTORS 4
#define GEMM_ROWS {12, 12, 8, 6}  /* 24 of 32 registers accumulate */
#define GEMM_TILES ROWS_12(1) ROWS_12(2) ROWS_8(3) ROWS_6(4)
#define GEMM_WIDEST ROWS_6(4)
#define VFMA_f32(a, b, c) ((__typeof__(c))vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define VFMA_f64(a, b, c) ((__typeof__(c))vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#define VSQRT_f32(a) ((__typeof__(a))vsqrtq_f32((float32x4_t)(a)))
#define VSQRT_f64(a) ((__typeof__(a))vsqrtq_f64((float64x2_t)(a)))
#define VMUL32(a, b) vmull_u32(vmovn_u64((uint64x2_t)(a)), vmovn_u64((uint64x2_t)(b)))

#include "isa.inc"
#endif
