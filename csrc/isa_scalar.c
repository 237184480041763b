/* isa_scalar.c: portable C, for every machine.  The compiler may use what the platform guarantees (SSE2, NEON). */
#include "internal.h"

#define ISA_TABLE tae_scalar
#define ISA_NAME "scalar"
#define HAS_FMA 0

#define VECTOR_BYTES 16
#define GEMM_VECTORS 2
#define GEMM_ROWS {8, 4}  /* 8 of 16 registers accumulate: without FMA a product needs one more */
#define GEMM_TILES ROWS_8(1) ROWS_4(2)
#define GEMM_WIDEST ROWS_4(2)
#define VFMA_f32(a, b, c) ((a) * (b) + (c))
#define VFMA_f64(a, b, c) ((a) * (b) + (c))
#if TAE_X86 /* which has SSE2 */
#define VMUL32(a, b) _mm_mul_epu32((__m128i)(a), (__m128i)(b))
#endif

#include "isa.inc"
