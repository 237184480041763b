/* tinyae.h: the C API.  Read it first; dispatch.c, activations.def, kernels.inc and gemm.inc come after it.
 *
 * What it promises not to do: it knows nothing of Python, tensors, shapes or gradients, keeps no state but the chosen
 * instruction set, and allocates nothing (tae_gemm has 1 MiB of static scratch per calling thread).
 *
 * Rules for every function below, unless its comment says otherwise:
 *   dtype    0 = float32, 1 = float64; every array of a call has it, is aligned for it and C-contiguous.
 *   sizes    count elements.  0 is fine everywhere, and then the pointers may be NULL.
 *   memory   belongs to the caller, before and after.  `out` may be one of the inputs exactly, where the comment says
 *            "in place"; it may overlap them in no other way.
 *   returns  a tae_status.  Anything but TAE_DONE means that nothing was written.
 *   threads  any number of threads may call at once, on different outputs.
 *   numbers  IEEE NaN and inf go through.  Subnormals count as zero, on the way in and on the way out; the caller's
 *            floating-point mode and flags are restored.  The bits of a result depend on the instruction set only:
 *            not on alignment, thread, or where in an array an element or a row stands. */
#ifndef TINYAE_H
#define TINYAE_H

#include <stdint.h>

/* The text between the two marks is also the cffi cdef (build_ffi.py): one source of truth. */
/* cdef begin */

typedef enum {
    TAE_DONE = 0,
    TAE_NOT_MINE = 1,      /* no such op, kind or dtype here: take another way */
    TAE_BAD_ARGUMENT = 2,  /* a negative size, NULL where data is due, a step that is not 0 or 1, bytes beyond 2^63 */
} tae_status;

/* The name of the instruction set in force: the best that this CPU and OS support, until tae_use_isa says otherwise. */
const char *tae_isa(void);

/* Switches every later call in the process to the named instruction set.  TAE_NOT_MINE, and no change, if this build,
 * CPU or OS lacks it. */
int tae_use_isa(const char *name);

/* The i-th compiled instruction set, slowest first; NULL past the end. */
const char *tae_isa_name(int i);

/* 1 if that instruction set is compiled in and both CPU and OS support it, else 0. */
int tae_isa_supported(const char *name);

/* How many threads a call may use, the calling one among them: 1 until tae_set_threads says otherwise. */
int tae_threads(void);

/* Lets every later call in the process use n threads, 1 to 256.  Waits for a call that is using the present ones.
 * TAE_BAD_ARGUMENT, and no change, outside that range.  Without POSIX threads there is one, whatever n. */
int tae_set_threads(int n);

/* The compiler that built the library, as it names itself. */
const char *tae_compiler(void);

/* The name of a unary (binary) op; NULL past the end.  The index is what the functions below take as `op`. */
const char *tae_unary_name(int op);
const char *tae_binary_name(int op);

/* What tae_unary_backward wants as `kept`: 1 = the result y, 0 = the input x, -1 = no such op. */
int tae_unary_keeps_y(int op);

/* out[i] = f(x[i]).  `param` is the slope of leaky_relu and the alpha of elu, else unused.  In place: out == x. */
int tae_unary(int op, int dtype, int64_t n, const void *x, void *out, double param);

/* out[i] = g[i g_step] f'(x[i]), from the kept x or y.  A step is 1 (an array) or 0 (one value).  In place: out == g
 * where its step is 1, or out == kept. */
int tae_unary_backward(int op, int dtype, int64_t n, const void *g, int64_t g_step, const void *kept, void *out,
                       double param);

/* out[i] = a[i a_step] op b[i b_step] for add, subtract, multiply, divide.  A step is 1 (an array) or 0 (one value).
 * In place: out == a or out == b where that step is 1. */
int tae_binary(int op, int dtype, int64_t n, const void *a, int64_t a_step, const void *b, int64_t b_step, void *out);

/* C (m, n) = f(alpha A (m, k) B (k, n) + beta C + bias (n)).  C is not read where beta is 0.  A and B take any strides, in elements, zero and negative ones too, `a`
 * and `b` pointing at element (0, 0): a transpose is the same memory with the strides exchanged.  Rows of C are
 * contiguous and c_rs >= n elements apart; what lies between them is not touched.  `bias` may be NULL.
 * `activation` is a unary op, or -1 for none.  k = 0 sums nothing: C = f(bias). */
int tae_gemm(int dtype, int64_t m, int64_t n, int64_t k,
             const void *a, int64_t a_rs, int64_t a_cs, const void *b, int64_t b_rs, int64_t b_cs,
             void *c, int64_t c_rs, const void *bias, int activation, double param, double alpha, double beta);

/* The same, without bias and activation, for a stack of products: C, contiguous, of shape (sizes[0], ...,
 * sizes[axes - 1], m, n).  From one matrix of A (B) to the next along axis i it is a_steps[i] (b_steps[i]) elements, 0
 * where the same one serves again.  0 <= axes <= 64. */
int tae_gemm_stack(int dtype, int axes, const int64_t *sizes, const int64_t *a_steps, const int64_t *b_steps,
                   int64_t m, int64_t n, int64_t k, const void *a, int64_t a_rs, int64_t a_cs,
                   const void *b, int64_t b_rs, int64_t b_cs, void *c, double alpha, double beta);

/* out (outer, inner) = the sum of x (outer, n, inner) over its middle axis. */
int tae_sum(int dtype, int64_t outer, int64_t n, int64_t inner, const void *x, void *out);

/* out (outer, inner) = the extreme of x (outer, n, inner) over its middle axis, n > 0: kind 0 = the largest, 1 = the
 * smallest; NaN if there is one. */
int tae_extreme(int kind, int dtype, int64_t outer, int64_t n, int64_t inner, const void *x, void *out);

/* Where that is: the first of equal places; the first NaN if there is one. */
int tae_arg_extreme(int kind, int dtype, int64_t outer, int64_t n, int64_t inner, const void *x, int64_t *out);

/* Row by row, x (rows, n): out = exp(x) / sum exp(x), and its logarithm.  In place: out == x. */
int tae_softmax(int dtype, int64_t rows, int64_t n, const void *x, void *out);
int tae_log_softmax(int dtype, int64_t rows, int64_t n, const void *x, void *out);

/* The gradient of the two above from the kept result y.  In place: out == g or out == y. */
int tae_softmax_backward(int dtype, int64_t rows, int64_t n, const void *g, const void *y, void *out);
int tae_log_softmax_backward(int dtype, int64_t rows, int64_t n, const void *g, const void *y, void *out);

/* out (rows) = log sum exp(x), row by row; -inf for an empty row. */
int tae_logsumexp(int dtype, int64_t rows, int64_t n, const void *x, void *out);

/* Losses with their gradients in one pass over memory: *loss = scale times the sum of the terms, and where a g is not
 * NULL it becomes the gradient of *loss.
 *   bce_with_logits   max(x, 0) - x target + log(1 + exp(-|x|))             in place: g == x or g == target
 *   gaussian_kl       (mu^2 + exp(logvar) - 1 - logvar) / 2                 in place: g_mu == mu, g_logvar == logvar
 *   cross_entropy     log sum exp(x) - x[label], for each row of x (rows, n).  TAE_BAD_ARGUMENT, and nothing is written,
 *                     if a label is not in 0 .. n - 1.                      in place: g == x */
int tae_bce_with_logits(int dtype, int64_t n, const void *x, const void *target, double scale, double *loss, void *g);
int tae_gaussian_kl(int dtype, int64_t n, const void *mu, const void *logvar, double scale, double *loss,
                    void *g_mu, void *g_logvar);
int tae_cross_entropy(int dtype, int64_t rows, int64_t n, const void *x, const int64_t *label, double scale,
                      double *loss, void *g);

/* out[r] = scale x[index[r]] for 0 <= r < rows: rows of n elements out of x (x_rows, n).  x is of the dtype `from`, which
 * is `dtype` or 2 = bytes, 0 to 255.  TAE_BAD_ARGUMENT, and nothing is written, if an index is not in 0 .. x_rows - 1. */
int tae_gather(int from, int dtype, int64_t rows, int64_t n, int64_t x_rows, const void *x, const int64_t *index,
               double scale, void *out);

/* One step of gradient descent, in place on p and velocity (NULL if and only if momentum is 0):
 *   g' = g + weight_decay p;  velocity = momentum velocity + g';
 *   p -= lr (nesterov ? g' + momentum velocity : velocity) */
int tae_sgd(int dtype, int64_t n, void *p, const void *g, void *velocity,
            double lr, double momentum, int nesterov, double weight_decay);

/* Step number `step` (1, 2, ...) of Adam, in place on p, m and v:
 *   decoupled ? p *= 1 - lr weight_decay : (g += weight_decay p);  m, v = moving means of g and g^2;
 *   p -= lr / (1 - beta1^step) m / (sqrt(v / (1 - beta2^step)) + eps) */
int tae_adam(int dtype, int64_t n, void *p, const void *g, void *m, void *v, double lr, double beta1, double beta2,
             double eps, double weight_decay, int decoupled, int64_t step);

/* out[i] = noise of kind 0 uniform [0, 1), 1 standard normal, 2 Bernoulli(p), from Philox4x32-10 (Salmon et al. 2011).
 * Equal (key, counter) give equal noise; streams of different (key, counter) are independent. */
int tae_noise(int kind, int dtype, int64_t n, uint64_t key, uint64_t counter, double p, void *out);

/* cdef end */

#endif
