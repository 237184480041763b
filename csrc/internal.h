/* internal.h: what dispatch.c and the per-ISA files share.  Nothing here is public.
 *
 * An instruction set (ISA) is one small file, isa_NAME.c, that names its registers and includes isa.inc; that
 * includes the templates kernels.inc and gemm.inc for float and for double.  The result is one tae_isa_table. */
#ifndef TINYAE_INTERNAL_H
#define TINYAE_INTERNAL_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tinyae.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define TAE_X86 1
#include <immintrin.h>
#else
#define TAE_X86 0
#endif

/* Hints that compilers spell differently.  IVDEP: no iteration reads what another one writes (`out == x` is fine),
 * so vectorise without a check for overlap.  UNROLL: completely, whatever the size. */
#if defined(__clang__)
#define IVDEP _Pragma("clang loop vectorize(assume_safety)")
#define UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define IVDEP _Pragma("GCC ivdep")
#define UNROLL _Pragma("GCC unroll 32")
#else
#define IVDEP
#define UNROLL
#endif

#if defined(__GNUC__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define THREAD_LOCAL _Thread_local
#define ALIGNED(bytes) __attribute__((aligned(bytes)))
#elif defined(_MSC_VER)
#define ALWAYS_INLINE static __forceinline
#define THREAD_LOCAL __declspec(thread)
#define ALIGNED(bytes) __declspec(align(bytes))
#else
#define ALWAYS_INLINE static inline
#define THREAD_LOCAL _Thread_local
#define ALIGNED(bytes) _Alignas(bytes)
#endif

/* Unary ops, numbered by their row in activations.def. */
enum {
#define ACTIVATION(name, kept, forward, backward) UNARY_##name,
#include "activations.def"
#undef ACTIVATION
    UNARY_OPS
};

enum { BINARY_add, BINARY_subtract, BINARY_multiply, BINARY_divide, BINARY_OPS };

enum { NOISE_UNIFORM, NOISE_NORMAL, NOISE_BERNOULLI, NOISE_KINDS };

/* The arguments of tae_gemm. */
typedef struct {
    int64_t m, n, k;
    const void *a; int64_t a_rs, a_cs;
    const void *b; int64_t b_rs, b_cs;
    void *c; int64_t c_rs;
    const void *bias; int activation; double param;
} gemm_call;

/* gemm.inc keeps its packed panels here: one buffer for each thread that calls. */
#define GEMM_SCRATCH_BYTES (1 << 20)

/* The kernels of one ISA for one dtype.  dispatch.c has checked every argument and flushed subnormals before it calls;
 * the contracts are those of tinyae.h.  Arrays are void * so that float and double share one struct. */
typedef struct {
    void (*unary)(int op, int64_t n, const void *x, void *out, double param);
    void (*unary_backward)(int op, int64_t n, const void *g, const void *kept, void *out, double param);
    void (*binary)(int op, int64_t n, const void *a, int64_t a_step, const void *b, int64_t b_step, void *out);
    void (*sum)(int64_t outer, int64_t n, int64_t inner, const void *x, void *out);
    void (*softmax)(int64_t rows, int64_t n, const void *x, void *out);
    void (*log_softmax)(int64_t rows, int64_t n, const void *x, void *out);
    void (*softmax_backward)(int64_t rows, int64_t n, const void *g, const void *y, void *out);
    void (*log_softmax_backward)(int64_t rows, int64_t n, const void *g, const void *y, void *out);
    void (*logsumexp)(int64_t rows, int64_t n, const void *x, void *out);
    void (*sgd)(int64_t n, void *p, const void *g, void *velocity, double lr, double momentum, int nesterov,
                double weight_decay);
    void (*adam)(int64_t n, void *p, const void *g, void *m, void *v, double lr, double beta1, double beta2,
                 double eps, double weight_decay, int decoupled, int64_t step);
    void (*noise)(int kind, int64_t n, uint64_t key, uint64_t counter, double p, void *out);
    void (*gemm)(const gemm_call *call, void *scratch);
} tae_kernels;

typedef struct {
    const char *name;
    const tae_kernels *of[2];  /* by dtype */
} tae_isa_table;

extern const tae_isa_table tae_scalar;
#if TAE_X86
extern const tae_isa_table tae_avx2, tae_avx512;
#endif

#endif
