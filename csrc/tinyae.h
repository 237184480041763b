/* tinyae.h: the C API.  Read it first; dispatch.c, activations.def, kernels.inc, gemm.inc, conv.c and conv.inc come
 * after it.
 *
 * What it promises not to do: it knows nothing of Python, tensors, shapes or gradients, keeps no state but the chosen
 * instruction set, and allocates nothing (there is 1 MiB of static scratch memory per calling thread).
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

/* The same in float32, each operand a sum of 1 to 3 pieces of 8 bits, where the processor has a unit for them (AMX) and
 * that is faster.  3 pieces are as exact as float32; 2 err by some 4e-6, 1 by some 2e-3 of the sum of |a b|.
 * TAE_NOT_MINE, and nothing is written, where it is no faster, and where A or B hold what pieces cannot: NaN, inf, or
 * magnitudes outside 2^-55 .. 2^55 but zero. */
int tae_gemm_split(int pieces, int axes, const int64_t *sizes, const int64_t *a_steps, const int64_t *b_steps,
                   int64_t m, int64_t n, int64_t k, const void *a, int64_t a_rs, int64_t a_cs,
                   const void *b, int64_t b_rs, int64_t b_cs, void *c, double alpha, double beta);

/* Convolution of images, of two sides.  Place i of the small one meets, for every place k of the kernel, place
 * i stride + k dilation - before of the big one, along each axis; what is met outside of it counts as zero.  Arrays are
 * big (images, channels, height, width), small likewise, weight (channels of small, channels of big / groups, height
 * and width of the kernel), bias (channels of the result) or NULL.  The channels of each side fall into `groups` equal
 * parts, and part i meets part i. */
typedef struct {
    int64_t images, groups;
    int64_t big[3], small[3];  /* channels, height, width */
    int64_t kernel[2], stride[2], before[2], dilation[2];
} tae_windows;

/* small = f(the sum of weight times what is met, over big's channels and the kernel's places, + bias); and its
 * transpose, big = f(the sum over all that meets it, + bias).  `activation` is a unary op, or -1 for none.
 * TAE_NOT_MINE for a kernel or a stride of more than 256 places, and for one whose window is too wide to be kept in a
 * second-level cache.  TAE_BAD_ARGUMENT for a length below 1 (images may be 0) or above 2^31. */
int tae_conv2d(int dtype, const tae_windows *windows, const void *big, const void *weight, const void *bias,
               int activation, double param, void *small);
int tae_conv2d_transposed(int dtype, const tae_windows *windows, const void *small, const void *weight,
                          const void *bias, int activation, double param, void *big);

/* weight = the sum of small times what it meets of big, over images and places: the gradient of both of the above.
 * `room` is memory to work in, of as many elements as tae_conv2d_weight_room says, and may be NULL if that is 0. */
int tae_conv2d_weight(int dtype, const tae_windows *windows, const void *big, const void *small, void *weight,
                      void *room);

/* -1 where the sizes are unsound. */
int64_t tae_conv2d_weight_room(const tae_windows *windows);

/* Pooling, without weights: channel by channel, which both sides have equally many of; groups and the channels of a
 * kernel do not matter.  At most 256 places of a kernel; else, or where rows are too long to be padded in a
 * second-level cache, TAE_NOT_MINE.
 *   max_pool            the largest of what is met, -inf if nothing is, NaN if one is; and which place of the kernel it
 *                       came from, counted row by row, the first of equal ones.  Either result may be NULL.
 *   max_pool_backward   big = 0, and small added where its winner stands; TAE_BAD_ARGUMENT if one is no such place.
 *   sum_pool            small = the sum of what is met / divisor: the mean, or what nearest upsampling gives back
 *   spread              its transpose, big = the sum of all that meets it / divisor: nearest upsampling */
int tae_max_pool(int dtype, const tae_windows *windows, const void *big, void *small, unsigned char *winner);
int tae_max_pool_backward(int dtype, const tae_windows *windows, const void *small, const unsigned char *winner,
                          void *big);
int tae_sum_pool(int dtype, const tae_windows *windows, const void *big, double divisor, void *small);
int tae_spread(int dtype, const tae_windows *windows, const void *small, double divisor, void *big);

/* TAE_DONE if the function of that kind has these sizes; else what it would return. */
enum { TAE_CONV2D, TAE_CONV2D_TRANSPOSED, TAE_CONV2D_WEIGHT, TAE_MAX_POOL, TAE_MAX_POOL_BACKWARD, TAE_SUM_POOL,
       TAE_SPREAD };
int tae_windows_fit(int kind, int dtype, const tae_windows *windows);

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

/* out[r] = scale x[index[r]] for 0 <= r < rows: rows of n elements out of x (x_rows, n). x is of the dtype `from`,
 * which is `dtype` or 2 = bytes, 0 to 255. TAE_BAD_ARGUMENT, and nothing is written, if an index is not in 0 ..
 * x_rows - 1. */
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

/* One step of RMSprop, Adagrad and Adadelta, in place on p and the slots, g being g + weight_decay p everywhere:
 *   rmsprop    v = moving mean of g^2, m (NULL: not centered) that of g;  u = g / (sqrt(max(v - m^2, 0)) + eps);
 *              velocity (NULL if and only if momentum is 0) = u = momentum velocity + u;  p -= lr u
 *   adagrad    v += g^2;  p -= lr g / (sqrt(v) + eps)
 *   adadelta   v = moving mean of g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;  u = moving mean of d^2;  p -= lr d */
int tae_rmsprop(int dtype, int64_t n, void *p, const void *g, void *v, void *m, void *velocity, double lr, double alpha,
                double eps, double momentum, double weight_decay);
int tae_adagrad(int dtype, int64_t n, void *p, const void *g, void *v, double lr, double eps, double weight_decay);
int tae_adadelta(int dtype, int64_t n, void *p, const void *g, void *v, void *u, double lr, double rho, double eps,
                 double weight_decay);

/* A recurrent layer of kind 0 RNN, 1 LSTM, 2 GRU over all steps, as tinyae/ops/recurrent.py defines it; G = 1, 4, 3
 * gates side by side. z (steps, n, G hidden), or, where z_repeats is 1, (n, G hidden) for all steps, weight (hidden,
 * G hidden), bias (G hidden) or NULL, h and c (n, hidden), c NULL if and only if there is none -> y (steps, n,
 * hidden), for an LSTM (2, steps, n, hidden). activation 0 = tanh, 1 = relu; `reverse` 1 begins at the last step;
 * `lengths` (n), or NULL: beyond so many steps a row's state stays what it was. steps > 0. `gates` (steps, n, 4
 * hidden), or NULL, which it is for an RNN, keeps them for tae_recurrent_backward; without it `work` (n, 4 hidden),
 * an RNN's (n, hidden), is needed. */
int tae_recurrent(int kind, int dtype, int activation, int reverse, int64_t steps, int64_t n, int64_t hidden,
                  const int64_t *lengths, const void *z, int z_repeats, const void *weight, const void *bias,
                  const void *h, const void *c, void *y, void *work, void *gates);

/* From g, of y's shape, the gradients of z, of h and c, and, for a GRU alone, du (steps, n, G hidden), that of h weight
 * + bias; elsewhere it is that of z, and du is NULL. weight_t is weight transposed, (G hidden, hidden). Where
 * `gates` is NULL they are computed anew, to the same bits; else z, weight and bias are not read, and may be NULL. */
int tae_recurrent_backward(int kind, int dtype, int activation, int reverse, int64_t steps, int64_t n, int64_t hidden,
                           const int64_t *lengths, const void *z, int z_repeats, const void *weight,
                           const void *weight_t, const void *bias, const void *h, const void *c, const void *y,
                           const void *gates, const void *g, void *dz, void *du, void *dh, void *dc);

/* out[i] = noise of kind 0 uniform [0, 1), 1 standard normal, 2 Bernoulli(p), from Philox4x32-10 (Salmon et al. 2011).
 * Equal (key, counter) give equal noise; streams of different (key, counter) are independent. */
int tae_noise(int kind, int dtype, int64_t n, uint64_t key, uint64_t counter, double p, void *out);

/* ---- plans: a whole training step in one call ----
 *
 * A plan is a list of instructions over numbered buffers.  It belongs to the caller, with all that it points to.  An
 * instruction's arrays are places: a buffer and an offset in elements.  Outputs overlap inputs only where it is said.
 * One thread at a time may run a plan; several plans may run at once. */

typedef struct {
    int64_t buffer, offset;  /* buffer -1: none, where that is allowed */
} tae_place;

typedef struct {
    void *memory;     /* may change from run to run, aligned for what is in it */
    int64_t bytes;
    int writeable;
} tae_buffer;

/* tae_gemm, or, with axes, tae_gemm_stack.  With pieces, 1 to 3, a product of float32 is tae_gemm_split's where that has
 * it; 0: never. */
typedef struct {
    int axes, pieces;
    const int64_t *sizes, *a_steps, *b_steps;
    int64_t m, n, k;
    tae_place a; int64_t a_rs, a_cs;
    tae_place b; int64_t b_rs, b_cs;
    tae_place c; int64_t c_rs;
    tae_place bias; int activation;  /* none: -1 */
    double param, alpha, beta;
} tae_plan_gemm;

/* A chain of element-wise ops on (rows, cols) elements.  Operands are all of them, or one value for each column, or for
 * each row, or one value, in memory or here.  Registers are numbered from 0; an op is a row of chain.def, or (numbers
 * from tae_chain_ops() on) a unary op, or (so many unary ops later) its derivative in g and what is kept.  Its sources
 * are i for register i, ~i for operand i.  A TAE_FULL operand may be the same memory as a TAE_STORE output. */
enum { TAE_FULL, TAE_ROW, TAE_COLUMN, TAE_SCALAR, TAE_NUMBER };               /* an operand's mode */
enum { TAE_STORE, TAE_SUM, TAE_SUM_ROWS, TAE_SUM_COLS };  /* what an output holds: all, or sums: 1, cols, rows values */
typedef struct {
    int mode, spread;  /* spread: 1 if one value is needed as a whole tile, as what a derivative keeps is; else 0 */
    tae_place at;
    double number;
} tae_chain_operand;
typedef struct {
    int code, to, from[3];
    int direct;        /* the output in whose memory the register is from here on, for no later op reads that; or -1 */
    double p, q;
} tae_chain_op;
typedef struct {
    int kind, from;    /* from: a register */
    tae_place at;
} tae_chain_output;
typedef struct {
    int64_t rows, cols;
    int registers, operands, ops, outputs;
    const tae_chain_operand *operand;
    const tae_chain_op *op;
    const tae_chain_output *output;
    int64_t tile_rows, pieces, piece, block_tiles, blocks;  /* set by tae_plan_prepare */
    double cost;                                            /* also */
} tae_chain;

enum { TAE_REDUCE_SUM, TAE_REDUCE_MAX, TAE_REDUCE_MIN, TAE_REDUCE_ARGMAX, TAE_REDUCE_ARGMIN };
typedef struct {
    int kind;          /* the last two write int64_t */
    int64_t outer, n, inner;
    tae_place x, out;
} tae_plan_reduce;

enum { TAE_SOFTMAX, TAE_LOG_SOFTMAX, TAE_LOGSUMEXP, TAE_SOFTMAX_BACKWARD, TAE_LOG_SOFTMAX_BACKWARD };
typedef struct {
    int kind;
    int64_t rows, n;
    tae_place x, y, out;  /* the last two kinds: x is g; the others have no y */
} tae_plan_rows;

/* out = x, or out += x, element by element, of any strides.  `shared`: two elements of out may be one, which are then
 * added to by one thread. */
typedef struct {
    int from;          /* x: 0 float32, 1 float64, 2 uint8, 3 bool, 4 int64 */
    int add, shared, axes;
    int64_t sizes[8], x_strides[8], out_strides[8];
    tae_place x, out;
} tae_plan_copy;

typedef struct {
    int64_t n;
    double value;
    tae_place out;
} tae_plan_fill;

/* tae_noise; each run moves the counter on by counter_step. */
typedef struct {
    int kind;
    int64_t n;
    uint64_t key, counter, counter_step;
    double p;
    tae_place out;
} tae_plan_noise;

/* tae_gather; the index (int64_t) is looked at in every run. */
typedef struct {
    int from;
    int64_t rows, n, x_rows;
    tae_place x, index, out;
    double scale;
} tae_plan_gather;

/* The transposed: out (out_rows, n) becomes 0, and gets row r of x (rows, n) added to its row index[r], one after the
 * other.  With `ones`, instead: out (rows, n) becomes 0, and 1 at column index[r] of its row r. */
typedef struct {
    int ones;
    int64_t rows, n, out_rows;
    tae_place x, index, out;
} tae_plan_scatter;

/* Are all values of x (n), of dtype `from`, in [low, high], or NaN?  If not, the instruction fails. */
typedef struct {
    int from;
    int64_t n;
    double low, high;
    tae_place x;
} tae_plan_within;

/* A function of tae_windows by its kind, which writes `small`, `big` or `weight`.  TAE_MAX_POOL_BACKWARD finds the
 * winners anew, in `pooled`, of big's shape. */
typedef struct {
    int kind, activation;  /* none: -1 */
    tae_windows windows;
    tae_place big, small, weight, bias, pooled;
    double param;          /* of the activation, or the divisor */
} tae_plan_windows;

/* tae_recurrent, or, where `backward` is 1, the gradients of all that it reads: of z for every step, weight, bias (a
 * GRU's alone), h and c. n, hidden > 0. An RNN's gradients do not read z: it may be any array of its size. `gates`
 * is optional; backward reads z only where there are none. */
typedef struct {
    int kind, backward, activation, reverse, z_repeats;
    int64_t steps, n, hidden;
    tae_place lengths, z, weight, bias, h, c, y, gates, g, dz, dweight, dbias, dh, dc;
} tae_plan_recurrent;

/* One step of an optimizer on some tensors.  Each has made `step` steps before a run, whose own number is one more: of
 * tae_adam's first it is 1.  The run moves it on by `advance`, which is 1 unless a plan updates the tensor twice. */
typedef struct {
    int64_t n;
    tae_place p, g, slot[3];
    int64_t step, advance;
} tae_plan_tensor;
typedef struct {
    int rule, tensors;
    tae_plan_tensor *tensor;
    const double *numbers; /* so many as the rule has */
    int64_t elements;      /* set by tae_plan_prepare */
} tae_plan_update;

enum { TAE_GEMM, TAE_CHAIN, TAE_REDUCE, TAE_ROWS, TAE_COPY, TAE_FILL, TAE_NOISE, TAE_GATHER, TAE_UPDATE, TAE_WINDOWS,
       TAE_RECURRENT, TAE_SCATTER, TAE_WITHIN };
typedef struct {
    int kind, dtype;
    union {
        tae_plan_gemm gemm;
        tae_chain chain;
        tae_plan_reduce reduce;
        tae_plan_rows rows;
        tae_plan_copy copy;
        tae_plan_fill fill;
        tae_plan_noise noise;
        tae_plan_gather gather;
        tae_plan_update update;
        tae_plan_windows windows;
        tae_plan_recurrent recurrent;
        tae_plan_scatter scatter;
        tae_plan_within within;
    };
} tae_instruction;

typedef struct {
    int64_t buffers, instructions, inputs;
    tae_buffer *buffer;
    tae_instruction *instruction;
    const int64_t *input;   /* the numbers of the buffers whose memory each run brings */
    void *scratch;          /* for what an instruction needs while it runs, aligned as 64 bytes are */
    int64_t scratch_bytes;  /* how many: set by tae_plan_prepare */
} tae_plan;

/* Before each step of an epoch: rows index[step * batch ...] of data (data_rows, n), of dtype `from`, times scale, into
 * the place `to` (batch, n). */
typedef struct {
    int from, dtype;
    const void *data;
    int64_t data_rows, n, batch;
    const int64_t *index;
    double scale;
    tae_place to;
} tae_feed;

/* After each step of an epoch: out[step] = the value at `from`. */
typedef struct {
    int dtype;
    tae_place from;
    double *out;
} tae_loss;

/* What only a chain can do, by number; NULL past the end. */
const char *tae_chain_name(int code);
int tae_chain_ops(void);

/* The i-th rule of an update, NULL past the end; how many slots a tensor has and how many numbers the rule. */
const char *tae_rule_name(int rule);
int tae_rule_slots(int rule);
int tae_rule_numbers(int rule);

/* Checks every instruction and sets what it says above.  No other change to a plan is allowed afterwards than buffers'
 * addresses, scratch, an update's numbers and step, and a noise's key and counter.  -1, or the number of the first
 * instruction that is wrong or would touch memory outside of its buffers or write into one that is not writeable;
 * `instructions` if an input is no buffer. */
int64_t tae_plan_prepare(tae_plan *plan);

/* Runs instructions first .. last - 1; inputs: the memory of plan->input, forgotten afterwards, all other buffers having
 * theirs.  -1, or the number of the one that could not be run, an index being out of range. */
int64_t tae_plan_run(tae_plan *plan, int64_t first, int64_t last, const void *const *inputs);

/* Runs all instructions `steps` times.  -1, or the number of the instruction, or `instructions` plus that of the feed
 * or, after those, of the loss, that is wrong; nothing has been run if it is a feed or a loss. */
int64_t tae_plan_epoch(tae_plan *plan, const void *const *inputs, int64_t steps, int64_t feeds, const tae_feed *feed,
                       int64_t losses, const tae_loss *loss);

/* What bench/ holds the functions above against: this machine's limits on the ISA in force.
 *   peak_fma      `rounds` of independent multiply-adds in registers on each of tae_threads() threads; *flops = how many
 *                 operations that were, a multiply-add being two.
 *   peak_copy     out (n) = x (n), every bit of it, on tae_threads() threads.
 *   peak_rotate   p, m, v = m, v, g - p element by element, on one thread, subnormals as the caller's mode has it: it
 *                 reads and writes the memory that tae_adam does, and computes next to nothing. */
int tae_peak_fma(int dtype, int64_t rounds, double *flops);
int tae_peak_copy(int dtype, int64_t n, const void *x, void *out);
int tae_peak_rotate(int dtype, int64_t n, void *p, const void *g, void *m, void *v);

/* cdef end */

#endif
