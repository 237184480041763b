/* internal.h: what dispatch.c, conv.c and the per-ISA files share.  Nothing here is public.
 *
 * An instruction set (ISA) is one small file, isa_NAME.c, that names its registers and includes isa.inc; that includes
 * the templates kernels.inc, gemm.inc and conv.inc for float and for double.  The result is one tae_isa_table. */
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
#if defined(__aarch64__) && defined(__GNUC__)
#define TAE_NEON 1
#else
#define TAE_NEON 0
#endif

/* AMX: compilers know it since gcc 11 and clang 12.  TAE_TILE_MODEL puts plain C in its place, for tests. */
#if defined(TAE_TILE_MODEL) || (TAE_X86 && defined(__linux__) && (__GNUC__ >= 11 || __clang_major__ >= 12))
#define TAE_TILES 1
#else
#define TAE_TILES 0
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

enum { EXTREME_MAX, EXTREME_MIN, EXTREMES };

enum { NOISE_UNIFORM, NOISE_NORMAL, NOISE_BERNOULLI, NOISE_KINDS, NOISE_CHUNK = 256 };

/* What only a chain can do, numbered by row in chain.def; then come all unary ops, then their derivatives. */
enum {
#define CHAIN(name, sources, expression) CHAIN_##name,
#include "chain.def"
#undef CHAIN
    CHAIN_OPS
};

enum {
    CHAIN_MOST = 48,                             /* registers, operands, outputs of a chain */
    CHAIN_TILE_BYTES = 8192,                     /* of a register; a few of them fill the first-level cache */
    CHAIN_SLOT_BYTES = CHAIN_TILE_BYTES + 320,   /* from one to the next, whose places fall into other cache sets */
};

/* A chain with the addresses of its operands and outputs; those of sums over several blocks point to scratch memory. */
typedef struct {
    const tae_chain *chain;
    const void *operand[CHAIN_MOST];
    void *output[CHAIN_MOST];
} chain_call;

/* The arguments of tae_gemm. */
typedef struct {
    int64_t m, n, k;
    const void *a; int64_t a_rs, a_cs;
    const void *b; int64_t b_rs, b_cs;
    void *c; int64_t c_rs;
    const void *bias; int activation; double param, alpha, beta;
} gemm_call;

/* The arguments of tae_recurrent and tae_recurrent_backward. */
enum { CELL_RNN, CELL_LSTM, CELL_GRU, CELL_KINDS };
static const int cell_gates[CELL_KINDS] = {1, 4, 3};
static const int cell_room[CELL_KINDS] = {1, 4, 4};  /* the gates, and what a GRU's reset gate scales */
typedef struct {
    int kind, relu, reverse, z_repeats;
    int64_t steps, n, hidden;
    const int64_t *lengths;
    const void *z, *weight, *weight_t, *bias, *h, *c, *g;
    void *y, *work, *gates, *dz, *du, *dh, *dc;
} recurrent_call;

/* A convolution along one axis, as conv.inc sees it: place i of y meets, for tap k, place i step + first + k move of x,
 * which counts as zero outside of 0 .. source - 1. */
typedef struct {
    int64_t count, source;              /* places of y, and of x */
    int64_t step, first, move, taps;
    int64_t kernel_first, kernel_step;  /* tap k is place kernel_first + k kernel_step of the kernel */
    int64_t to_first, to_step;          /* place i of y is place to_first + i to_step of its image */
} conv_axis;

/* `images` images of one group of channels: y, from x and w, or, by conv_weight, w from x and y.  Strides are in
 * elements; those of rows are the lengths of rows, but for a y that is written in parts. */
typedef struct {
    conv_axis axis[2];         /* rows, columns */
    int64_t band[2], at[2];    /* so many places of y at a time, and which of them; conv_weight takes all in turn */
    int64_t images, in, out;   /* in: channels of x; out: of y */
    int64_t chunk;             /* so many channels of x at a time: Note [Bits of convolutions] */
    const void *x; int64_t x_image, x_channel;
    void *y; int64_t y_image, y_channel, y_row;
    void *w; int64_t w_in, w_out, w_row;
    const void *bias; int activation; double param;
} conv_call;

/* So many planes of one channel of one image. */
typedef struct {
    const tae_windows *windows;
    int64_t planes;
    const void *x;
    void *y;
    uint8_t *winner;  /* by max_pool_backward it is read */
    int largest;      /* else the sum, divided */
    double divisor;
} pool_call;

/* Elements of a bank (conv.inc), and how many taps a table holds. */
enum { CONV_BANK = 1 << 16, CONV_TAPS = 256 };

/* For GEMM_TILES (gemm.inc): the tiles of 1 to so many rows. */
#define ROWS_4(V) KERNEL(1, V) KERNEL(2, V) KERNEL(3, V) KERNEL(4, V)
#define ROWS_6(V) ROWS_4(V) KERNEL(5, V) KERNEL(6, V)
#define ROWS_8(V) ROWS_6(V) KERNEL(7, V) KERNEL(8, V)
#define ROWS_12(V) ROWS_8(V) KERNEL(9, V) KERNEL(10, V) KERNEL(11, V) KERNEL(12, V)

/* Each thread has so much scratch memory: gemm.inc keeps its packed panels there, conv.inc its bank,
 * chain.inc its registers. */
#define SCRATCH_BYTES (1 << 20)
void *tae_scratch(void);

/* threads.c: runs task(context, i) for each i in 0 .. tasks - 1, in any order, on up to tae_threads() threads, the
 * caller's among them, and returns when all are done.  `cost` is about how many nanoseconds one thread would take for
 * all of them.  A task sets its own floating-point mode. */
typedef void tae_task(void *context, int64_t i);
void tae_parallel(int64_t tasks, double cost, tae_task *task, void *context);

#if TAE_TILES
/* isa_amx.c: whether there is a unit that multiplies tiles, and we may use it; whether a matrix can be split into pieces;
 * C = alpha A B + beta C by 1 to 3 of them, k > 0, bias and activation left out.  `scratch` is aligned to 64 bytes. */
int tae_tiles(void);
int tae_tiles_fit(int64_t rows, int64_t columns, const float *x, int64_t rs, int64_t cs);
void tae_gemm_tiles(int pieces, const gemm_call *call, void *scratch);
#endif

/* The kernels of one ISA for one dtype.  dispatch.c has checked every argument and flushed subnormals before it calls;
 * the contracts are those of tinyae.h.  Arrays are void * so that float and double share one struct. */
typedef struct {
    void (*unary)(int op, int64_t n, const void *x, void *out, double param);
    void (*unary_backward)(int op, int64_t n, const void *g, int64_t g_step, const void *kept, void *out, double param);
    void (*binary)(int op, int64_t n, const void *a, int64_t a_step, const void *b, int64_t b_step, void *out);
    void (*sum)(int64_t outer, int64_t n, int64_t inner, const void *x, void *out);
    void (*extreme)(int kind, int64_t outer, int64_t n, int64_t inner, const void *x, void *out);
    void (*arg_extreme)(int kind, int64_t outer, int64_t n, int64_t inner, const void *x, int64_t *out);
    double (*bce_with_logits)(int64_t n, const void *x, const void *target, double scale, void *g);
    double (*gaussian_kl)(int64_t n, const void *mu, const void *logvar, double scale, void *g_mu, void *g_logvar);
    double (*cross_entropy)(int64_t rows, int64_t n, const void *x, const int64_t *label, double scale, void *g);
    void (*gather)(int from, int64_t rows, int64_t n, const void *x, const int64_t *index, double scale, void *out);
    void (*softmax)(int64_t rows, int64_t n, const void *x, void *out);
    void (*log_softmax)(int64_t rows, int64_t n, const void *x, void *out);
    void (*softmax_backward)(int64_t rows, int64_t n, const void *g, const void *y, void *out);
    void (*log_softmax_backward)(int64_t rows, int64_t n, const void *g, const void *y, void *out);
    void (*logsumexp)(int64_t rows, int64_t n, const void *x, void *out);
    void (*sgd)(int64_t n, void *p, const void *g, void *velocity, double lr, double momentum, int nesterov,
                double weight_decay);
    void (*adam)(int64_t n, void *p, const void *g, void *m, void *v, double lr, double beta1, double beta2,
                 double eps, double weight_decay, int decoupled, int64_t step);
    void (*rmsprop)(int64_t n, void *p, const void *g, void *v, void *m, void *velocity, double lr, double alpha,
                    double eps, double momentum, double weight_decay);
    void (*adagrad)(int64_t n, void *p, const void *g, void *v, double lr, double eps, double weight_decay);
    void (*adadelta)(int64_t n, void *p, const void *g, void *v, void *u, double lr, double rho, double eps,
                     double weight_decay);
    void (*noise)(int kind, uint64_t first, int64_t n, uint64_t key, uint64_t counter, double p, void *out);
    void (*fill)(int64_t n, double value, void *out);
    void (*transpose)(int64_t rows, int64_t columns, const void *x, int64_t x_cs, void *out, int64_t out_rs);
    void (*chain)(const chain_call *call, int64_t block, void *scratch);
    void (*gemm)(const gemm_call *call, void *scratch);
    void (*recurrent)(const recurrent_call *call, int64_t first, int64_t rows, void *scratch);
    void (*recurrent_backward)(const recurrent_call *call, int64_t first, int64_t rows, void *scratch);
    double (*peak_fma)(int64_t rounds, double *sink);
    void (*peak_copy)(int64_t n, const void *x, void *out);
    void (*peak_rotate)(int64_t n, void *p, const void *g, void *m, void *v);
    void (*conv)(const conv_call *call, void *scratch);
    void (*conv_weight)(const conv_call *call, void *scratch);
    void (*pool)(const pool_call *call, void *scratch);
    void (*spread)(const pool_call *call);
    void (*max_pool_backward)(const pool_call *call);
} tae_kernels;

typedef struct {
    const char *name;
    const tae_kernels *of[2];  /* by dtype */
} tae_isa_table;

/* The kernels in force. */
const tae_kernels *tae_kernels_of(int dtype);

extern const tae_isa_table tae_scalar;
#if TAE_X86
extern const tae_isa_table tae_avx2, tae_avx512;
#endif
#if TAE_NEON
extern const tae_isa_table tae_neon;
#endif

/* ---- the floating-point mode ------------------------------------------------------------------------------------- */

/* Multiplying subnormals is some 40 times slower, and they creep into Adam's moments; so kernels run with "flush to
 * zero" and "denormals are zero", and also, whatever the caller has set, rounding to nearest with no traps. */
#if TAE_X86
typedef unsigned fp_mode;
ALWAYS_INLINE fp_mode enter(void) {
    fp_mode mode = _mm_getcsr();
    _mm_setcsr(0x9fc0);
    return mode;
}
ALWAYS_INLINE void leave(fp_mode mode) { _mm_setcsr(mode); }
#elif TAE_NEON
typedef uint64_t fp_mode;
ALWAYS_INLINE fp_mode enter(void) {
    fp_mode mode, flush = (uint64_t)1 << 24;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(flush) : "memory");
    return mode;
}
ALWAYS_INLINE void leave(fp_mode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }
#else
typedef int fp_mode;
ALWAYS_INLINE fp_mode enter(void) { return 0; }
ALWAYS_INLINE void leave(fp_mode mode) { (void)mode; }
#endif

/* ---- checks ------------------------------------------------------------------------------------------------------ */

#define NEED(condition) if (!(condition)) return TAE_BAD_ARGUMENT
#define MINE(condition) if (!(condition)) return TAE_NOT_MINE

ALWAYS_INLINE int is_unary(int op) { return op >= 0 && op < UNARY_OPS; }

ALWAYS_INLINE int is_dtype(int dtype) { return dtype == 0 || dtype == 1; }

/* a b c elements of the dtype: each at least 0, and the bytes countable. */
ALWAYS_INLINE int fits(int dtype, int64_t a, int64_t b, int64_t c) {
    int64_t room = (int64_t)(PTRDIFF_MAX / (dtype ? sizeof(double) : sizeof(float)));
    if (a < 0 || b < 0 || c < 0) return 0;
    if (a == 0 || b == 0 || c == 0) return 1;
    return a <= room && b <= room / a && c <= room / a / b;
}

#endif
