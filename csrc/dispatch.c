/* dispatch.c: the public functions.  Each checks what can be checked, sets the floating-point mode, and calls the
 * kernel of the instruction set (ISA) in force: portable C first, upgraded once to the best that the CPU has and the
 * operating system saves. */
#include "internal.h"

/* ---- which ISA --------------------------------------------------------------------------------------------------- */

#if TAE_X86
#include <cpuid.h>

/* The OS must save the wide registers too (xgetbv), else the first context switch corrupts them. */
static int cpu_has(int avx512) {
    unsigned a, b, c, d, saved, high;
    const unsigned osxsave = 1u << 27, fma = 1u << 12;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (osxsave | fma)) != (osxsave | fma)) return 0;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    const unsigned avx2 = 1u << 5, f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    const unsigned cpu = avx512 ? avx2 | f | dq | bw | vl : avx2;
    const unsigned os = avx512 ? 0xe6 : 0x06;  /* xmm, ymm; and mask registers, upper zmm, zmm16-31 */
    return (b & cpu) == cpu && (saved & os) == os;
}
static int has_avx2(void) { return cpu_has(0); }
static int has_avx512(void) { return cpu_has(1); }
#endif

static int always(void) { return 1; }

static const struct {
    const tae_isa_table *table;
    int (*supported)(void);
} isas[] = {  /* slowest first */
    {&tae_scalar, always},
#if TAE_NEON
    {&tae_neon, always},  /* part of the architecture */
#endif
#if TAE_X86
    {&tae_avx2, has_avx2},
    {&tae_avx512, has_avx512},
#endif
};
enum { ISAS = sizeof isas / sizeof *isas };

/* The table in force, NULL until first asked for.  Threads that find NULL at once all compute the same answer. */
#if defined(__GNUC__)
static const tae_isa_table *chosen;
#define LOAD_CHOSEN() __atomic_load_n(&chosen, __ATOMIC_ACQUIRE)
#define STORE_CHOSEN(t) __atomic_store_n(&chosen, t, __ATOMIC_RELEASE)
#else
static const tae_isa_table *volatile chosen;
#define LOAD_CHOSEN() chosen
#define STORE_CHOSEN(t) (chosen = (t))
#endif

static const tae_isa_table *table(void) {
    const tae_isa_table *t = LOAD_CHOSEN();
    if (t) return t;
    for (int i = 0; i < ISAS; i++)
        if (isas[i].supported()) t = isas[i].table;
    STORE_CHOSEN(t);
    return t;
}

const char *tae_isa(void) { return table()->name; }

const char *tae_isa_name(int i) { return i >= 0 && i < ISAS ? isas[i].table->name : NULL; }

static const tae_isa_table *find(const char *name) {
    for (int i = 0; name && i < ISAS; i++)
        if (strcmp(name, isas[i].table->name) == 0) return isas[i].supported() ? isas[i].table : NULL;
    return NULL;
}

const tae_kernels *tae_kernels_of(int dtype) { return table()->of[dtype]; }

int tae_isa_supported(const char *name) { return find(name) != NULL; }

int tae_use_isa(const char *name) {
    const tae_isa_table *t = find(name);
    if (!t) return TAE_NOT_MINE;
    STORE_CHOSEN(t);
    return TAE_DONE;
}

const char *tae_compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#elif defined(_MSC_VER)
    return "msvc";
#else
    return "unknown";
#endif
}

/* ---- which ops --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *kept;
} unary_ops[] = {
#define ACTIVATION(name, kept, forward, backward) {#name, #kept},
#include "activations.def"
#undef ACTIVATION
};
static const char *const binary_ops[] = {"add", "subtract", "multiply", "divide"};

static int is_binary(int op) { return op >= 0 && op < BINARY_OPS; }

const char *tae_unary_name(int op) { return is_unary(op) ? unary_ops[op].name : NULL; }
const char *tae_binary_name(int op) { return is_binary(op) ? binary_ops[op] : NULL; }
int tae_unary_keeps_y(int op) { return is_unary(op) ? unary_ops[op].kept[0] == 'y' : -1; }

/* ---- the functions of tinyae.h ----------------------------------------------------------------------------------- */

/* Runs one kernel of the ISA in force, in our floating-point mode. */
#define RUN(...)                                             \
    do {                                                     \
        const tae_kernels *kernel = table()->of[dtype];      \
        fp_mode mode = enter();                              \
        kernel->__VA_ARGS__;                                 \
        leave(mode);                                         \
        return TAE_DONE;                                     \
    } while (0)

#define RUN_TO(result, ...)                                  \
    do {                                                     \
        const tae_kernels *kernel = table()->of[dtype];      \
        fp_mode mode = enter();                              \
        result = kernel->__VA_ARGS__;                        \
        leave(mode);                                         \
        return TAE_DONE;                                     \
    } while (0)

int tae_unary(int op, int dtype, int64_t n, const void *x, void *out, double param) {
    MINE(is_unary(op) && is_dtype(dtype));
    NEED(fits(dtype, n, 1, 1) && (n == 0 || (x && out)));
    RUN(unary(op, n, x, out, param));
}

int tae_unary_backward(int op, int dtype, int64_t n, const void *g, int64_t g_step, const void *kept, void *out,
                       double param) {
    MINE(is_unary(op) && is_dtype(dtype));
    NEED(fits(dtype, n, 1, 1) && (n == 0 || (g && kept && out)) && (g_step == 0 || g_step == 1));
    RUN(unary_backward(op, n, g, g_step, kept, out, param));
}

int tae_binary(int op, int dtype, int64_t n, const void *a, int64_t a_step, const void *b, int64_t b_step, void *out) {
    MINE(is_binary(op) && is_dtype(dtype));
    NEED(fits(dtype, n, 1, 1) && (n == 0 || (a && b && out)));
    NEED((a_step == 0 || a_step == 1) && (b_step == 0 || b_step == 1));
    RUN(binary(op, n, a, a_step, b, b_step, out));
}

/* ---- matrix products, cut into tasks ----------------------------------------------------------------------------- */

/* Multiply-adds: so many of its own are worth another thread; from so many on there are two tasks for each, lest one
 * thread that is held up holds up the others; and so many take a nanosecond. */
#define GEMM_SHARE 4e5
#define GEMM_LARGE 64e6
#define GEMM_SPEED 100
/* Blocks of whole rows may take longer by this: whatever follows on the same rows finds them in its thread's cache. */
#define GEMM_BY_ROWS 0.9
/* Blocks begin at whole vectors; moving an element of A or B to where it is used takes the time of so many
 * multiply-adds. */
enum { GEMM_COLUMNS = 16, GEMM_MOVE = 16 };

/* A stack of products; `whole` is one of them and points to the first.  A task is a block of C, `rows` by `columns`, or
 * else, where each product is one block, so many products one after the other. */
typedef struct {
    const tae_kernels *kernel;
    gemm_call whole;
    int64_t itemsize, rows, columns, down, across, items, items_of_task;
    int axes, pieces;  /* none, or of isa_amx.c */
    const int64_t *sizes, *a_steps, *b_steps;
} gemm_job;

void *tae_scratch(void) {
    static THREAD_LOCAL ALIGNED(64) unsigned char scratch[SCRATCH_BYTES];
    return scratch;
}

/* How many elements of A and B lie between the first product of a stack and this one. */
static void find_item(const gemm_job *job, int64_t item, int64_t *a, int64_t *b) {
    *a = *b = 0;
    for (int axis = job->axes; axis-- > 0; item /= job->sizes[axis]) {
        *a += item % job->sizes[axis] * job->a_steps[axis];
        *b += item % job->sizes[axis] * job->b_steps[axis];
    }
}

static void gemm_task(void *context, int64_t task) {
    void *const scratch = tae_scratch();
    const gemm_job *job = context;
    const int64_t blocks = job->down * job->across, size = job->itemsize, block = task % blocks;
    const int64_t first = task / blocks * job->items_of_task;
    const int64_t end = first + job->items_of_task < job->items ? first + job->items_of_task : job->items;
    const int64_t i = block / job->across * job->rows, j = block % job->across * job->columns;
    const fp_mode mode = enter();
    for (int64_t item = first; item < end; item++) {
        gemm_call q = job->whole;
        int64_t a, b;
        find_item(job, item, &a, &b);
        q.a = (const char *)q.a + (a + i * q.a_rs) * size;
        q.b = (const char *)q.b + (b + j * q.b_cs) * size;
        q.c = (char *)q.c + (item * q.m * q.n + i * q.c_rs + j) * size;
        if (q.bias) q.bias = (const char *)q.bias + j * size;
        if (q.m > job->rows) q.m = q.m - i < job->rows ? q.m - i : job->rows;
        if (q.n > job->columns) q.n = q.n - j < job->columns ? q.n - j : job->columns;
#if TAE_TILES
        if (job->pieces) {
            tae_gemm_tiles(job->pieces, &q, scratch);
            continue;
        }
#endif
        job->kernel->gemm(&q, scratch);
    }
    leave(mode);
}

/* Cuts and runs.  Whatever is cut, each element of C is computed by one thread, by the rule of gemm.inc.  One product
 * is cut both ways, so that the largest block, and what each block reads of A and B, take the least time. */
static int gemm_run(gemm_job *job) {
    const gemm_call *q = &job->whole;
    const double products = (double)q->m * (double)q->n * (double)(q->k + 1), all = products * (double)job->items;
    int parts = tae_threads();
    job->rows = q->m, job->columns = q->n, job->down = job->across = 1, job->items_of_task = job->items;
    if (all < parts * GEMM_SHARE) parts = (int)(all / GEMM_SHARE);
    if (parts > 1 && all > parts * GEMM_LARGE) parts *= 2;
    if (parts > 1 && job->items >= parts) {
        job->items_of_task = (job->items + parts - 1) / parts;
    } else if (parts > 1) {
        double least = INFINITY;
        job->items_of_task = 1;
        for (int down = 1; down <= parts; down++) {
            const int64_t rows = (q->m + down - 1) / down, step = parts / down * GEMM_COLUMNS;
            const int64_t even = (q->n + step - 1) / step * GEMM_COLUMNS, columns = even < q->n ? even : q->n;
            const double moved = (double)((rows + columns) * GEMM_MOVE);
            const double time = ((double)rows * (double)columns + moved) * (down == parts ? GEMM_BY_ROWS : 1);
            if (time < least) {
                least = time;
                job->rows = rows, job->columns = columns;
            }
        }
        job->down = (q->m + job->rows - 1) / job->rows;
        job->across = (q->n + job->columns - 1) / job->columns;
    }
    const int64_t turns = (job->items + job->items_of_task - 1) / job->items_of_task;
    tae_parallel(turns * job->down * job->across, all / GEMM_SPEED, gemm_task, job);
    return TAE_DONE;
}

int tae_gemm(int dtype, int64_t m, int64_t n, int64_t k,
             const void *a, int64_t a_rs, int64_t a_cs, const void *b, int64_t b_rs, int64_t b_cs,
             void *c, int64_t c_rs, const void *bias, int activation, double param, double alpha, double beta) {
    MINE(is_dtype(dtype) && (activation == -1 || is_unary(activation)));
    NEED(m >= 0 && n >= 0 && k >= 0);
    if (m == 0 || n == 0) return TAE_DONE;
    NEED(c && (k == 0 || (a && b)));
    NEED((c_rs >= n || m == 1) && fits(dtype, m, m == 1 ? n : c_rs, 1));
    if (k == 0) {  /* nothing is read, but what points to it is still added to */
        a = b = c;
        a_rs = a_cs = b_rs = b_cs = 0;
    }
    gemm_job job = {
        .kernel = table()->of[dtype],
        .whole = {m, n, k, a, a_rs, a_cs, b, b_rs, b_cs, c, c_rs, bias, activation, param, alpha, beta},
        .itemsize = dtype ? sizeof(double) : sizeof(float),
        .items = 1,
    };
    return gemm_run(&job);
}

/* Whether products by pieces are faster than by FMA, and as exact as they should be.  So many multiply-adds are the least
 * that gained from AMX, in trials of another program. */
#ifdef TAE_TILE_MODEL
#define TILES_PAY 0
#else
#define TILES_PAY 5e6
#endif
static int splits_well(const gemm_job *job) {
#if TAE_TILES
    const gemm_call *q = &job->whole;
    if ((double)q->m * (double)q->n * (double)q->k <= TILES_PAY || !tae_tiles()) return 0;
    for (int64_t item = 0, a, b; item < job->items; item++) {
        find_item(job, item, &a, &b);
        if (!tae_tiles_fit(q->m, q->k, (const float *)q->a + a, q->a_rs, q->a_cs)) return 0;
        if (!tae_tiles_fit(q->k, q->n, (const float *)q->b + b, q->b_rs, q->b_cs)) return 0;
    }
    return 1;
#else
    (void)job;
    return 0;
#endif
}

static int gemm_stack(int pieces, int dtype, int axes, const int64_t *sizes, const int64_t *a_steps,
                      const int64_t *b_steps, int64_t m, int64_t n, int64_t k, const void *a, int64_t a_rs, int64_t a_cs,
                      const void *b, int64_t b_rs, int64_t b_cs, void *c, double alpha, double beta) {
    int64_t items = 1;
    MINE(is_dtype(dtype));
    NEED(m >= 0 && n >= 0 && k >= 0 && axes >= 0 && axes <= 64 && (axes == 0 || (sizes && a_steps && b_steps)));
    for (int i = 0; i < axes; i++) {
        NEED(fits(dtype, items, sizes[i], 1));
        items *= sizes[i];
    }
    if (items == 0 || m == 0 || n == 0) return TAE_DONE;
    NEED(c && (k == 0 || (a && b)) && fits(dtype, items, m, n));
    if (k == 0) {
        a = b = c;
        a_rs = a_cs = b_rs = b_cs = axes = 0;
    }
    gemm_job job = {
        .kernel = table()->of[dtype],
        .whole = {m, n, k, a, a_rs, a_cs, b, b_rs, b_cs, c, n, NULL, -1, 0, alpha, beta},
        .itemsize = dtype ? sizeof(double) : sizeof(float),
        .items = items, .axes = axes, .pieces = pieces, .sizes = sizes, .a_steps = a_steps, .b_steps = b_steps,
    };
    if (pieces) MINE(splits_well(&job));
    return gemm_run(&job);
}

int tae_gemm_stack(int dtype, int axes, const int64_t *sizes, const int64_t *a_steps, const int64_t *b_steps,
                   int64_t m, int64_t n, int64_t k, const void *a, int64_t a_rs, int64_t a_cs,
                   const void *b, int64_t b_rs, int64_t b_cs, void *c, double alpha, double beta) {
    return gemm_stack(0, dtype, axes, sizes, a_steps, b_steps, m, n, k, a, a_rs, a_cs, b, b_rs, b_cs, c, alpha, beta);
}

int tae_gemm_split(int pieces, int axes, const int64_t *sizes, const int64_t *a_steps, const int64_t *b_steps,
                   int64_t m, int64_t n, int64_t k, const void *a, int64_t a_rs, int64_t a_cs,
                   const void *b, int64_t b_rs, int64_t b_cs, void *c, double alpha, double beta) {
    NEED(pieces >= 1 && pieces <= 3);
    return gemm_stack(pieces, 0, axes, sizes, a_steps, b_steps, m, n, k, a, a_rs, a_cs, b, b_rs, b_cs, c, alpha, beta);
}

/* ---- recurrent layers: a task takes some rows through all steps ------------------------------------------------- */

typedef struct {
    void (*run)(const recurrent_call *call, int64_t first, int64_t rows, void *scratch);
    recurrent_call call;
    int64_t rows;
} recurrent_job;

static void recurrent_task(void *context, int64_t task) {
    const recurrent_job *job = context;
    const int64_t first = task * job->rows, left = job->call.n - first;
    const fp_mode mode = enter();
    job->run(&job->call, first, left < job->rows ? left : job->rows, tae_scratch());
    leave(mode);
}

/* `turns` is how many such products as h weight a step takes. */
static int recurrent_run(recurrent_job *job, int turns) {
    const recurrent_call *q = &job->call;
    const double step = (double)q->n * (double)q->hidden * (double)(q->hidden + 64) * cell_gates[q->kind];
    const double all = step * (double)q->steps * turns; /* multiply-adds; a gate costs as much as some 64 */
    int64_t parts = tae_threads();
    if (all < (double)parts * GEMM_SHARE) parts = (int64_t)(all / GEMM_SHARE);
    if (parts < 1) parts = 1;
    job->rows = (q->n + parts - 1) / parts;
    tae_parallel((q->n + job->rows - 1) / job->rows, all / GEMM_SPEED, recurrent_task, job);
    return TAE_DONE;
}

static int is_recurrent(const recurrent_call *q, int dtype) {
    const int64_t n = q->n, k = q->hidden;
    MINE(q->kind >= 0 && q->kind < CELL_KINDS && is_dtype(dtype) && (q->relu == 0 || q->relu == 1));
    NEED((q->reverse == 0 || q->reverse == 1) && (q->z_repeats == 0 || q->z_repeats == 1) && q->steps > 0);
    NEED(fits(1, k, k, 4) && fits(1, n, k, 4) && fits(1, q->steps, n * k * 4, 1));
    NEED(n == 0 || k == 0 || (q->h && q->y && (q->c != NULL) == (q->kind == CELL_LSTM)));
    NEED(!q->gates || q->kind != CELL_RNN);
    return TAE_DONE;
}

int tae_recurrent(int kind, int dtype, int activation, int reverse, int64_t steps, int64_t n, int64_t hidden,
                  const int64_t *lengths, const void *z, int z_repeats, const void *weight, const void *bias,
                  const void *h, const void *c, void *y, void *work, void *gates) {
    recurrent_job job = {.call = {.kind = kind, .relu = activation, .reverse = reverse, .steps = steps, .n = n,
                                  .hidden = hidden, .lengths = lengths, .z = z, .z_repeats = z_repeats,
                                  .weight = weight, .bias = bias, .h = h, .c = c, .y = y, .work = work,
                                  .gates = gates}};
    const int status = is_recurrent(&job.call, dtype);
    if (status || n == 0 || hidden == 0) return status;
    NEED(z && weight && (work || gates));
    job.run = table()->of[dtype]->recurrent;
    return recurrent_run(&job, 1);
}

int tae_recurrent_backward(int kind, int dtype, int activation, int reverse, int64_t steps, int64_t n, int64_t hidden,
                           const int64_t *lengths, const void *z, int z_repeats, const void *weight,
                           const void *weight_t, const void *bias, const void *h, const void *c, const void *y,
                           const void *gates, const void *g, void *dz, void *du, void *dh, void *dc) {
    recurrent_job job = {.call = {.kind = kind, .relu = activation, .reverse = reverse, .steps = steps, .n = n,
                                  .hidden = hidden, .lengths = lengths, .z = z, .z_repeats = z_repeats,
                                  .weight = weight, .weight_t = weight_t, .bias = bias, .h = h, .c = c, .g = g,
                                  .y = (void *)y, .gates = (void *)gates, .dz = dz, .du = du, .dh = dh, .dc = dc}};
    const int status = is_recurrent(&job.call, dtype);
    if (status || n == 0 || hidden == 0) return status;
    NEED(gates || (z && weight));
    NEED(weight_t && g && dz && dh && (dc != NULL) == (kind == CELL_LSTM) && (du != NULL) == (kind == CELL_GRU));
    job.run = table()->of[dtype]->recurrent_backward;
    return recurrent_run(&job, gates ? 1 : 2);
}

/* ---- the other functions of tinyae.h ----------------------------------------------------------------------------- */

int tae_sum(int dtype, int64_t outer, int64_t n, int64_t inner, const void *x, void *out) {
    MINE(is_dtype(dtype));
    NEED(fits(dtype, outer, n, inner) && fits(dtype, outer, inner, 1));
    NEED(outer == 0 || inner == 0 || (out && (n == 0 || x)));
    RUN(sum(outer, n, inner, x, out));
}

static int is_reducible(int kind, int dtype, int64_t outer, int64_t n, int64_t inner, const void *x, const void *out) {
    MINE(kind >= 0 && kind < EXTREMES && is_dtype(dtype));
    NEED(fits(dtype, outer, n, inner) && fits(1, outer, inner, 1) && n > 0);
    NEED(outer == 0 || inner == 0 || (out && x));
    return TAE_DONE;
}

int tae_extreme(int kind, int dtype, int64_t outer, int64_t n, int64_t inner, const void *x, void *out) {
    int status = is_reducible(kind, dtype, outer, n, inner, x, out);
    if (status || outer == 0 || inner == 0) return status;
    RUN(extreme(kind, outer, n, inner, x, out));
}

int tae_arg_extreme(int kind, int dtype, int64_t outer, int64_t n, int64_t inner, const void *x, int64_t *out) {
    int status = is_reducible(kind, dtype, outer, n, inner, x, out);
    if (status || outer == 0 || inner == 0) return status;
    RUN(arg_extreme(kind, outer, n, inner, x, out));
}

/* Whether all of index are in 0 .. n - 1. */
static int in_range(int64_t count, const int64_t *index, int64_t n) {
    int outside = 0;
    for (int64_t i = 0; i < count; i++) outside |= (uint64_t)index[i] >= (uint64_t)n;
    return !outside;
}

int tae_bce_with_logits(int dtype, int64_t n, const void *x, const void *target, double scale, double *loss, void *g) {
    MINE(is_dtype(dtype));
    NEED(fits(dtype, n, 1, 1) && loss && (n == 0 || (x && target)));
    RUN_TO(*loss, bce_with_logits(n, x, target, scale, g));
}

int tae_gaussian_kl(int dtype, int64_t n, const void *mu, const void *logvar, double scale, double *loss,
                    void *g_mu, void *g_logvar) {
    MINE(is_dtype(dtype));
    NEED(fits(dtype, n, 1, 1) && loss && (n == 0 || (mu && logvar)));
    RUN_TO(*loss, gaussian_kl(n, mu, logvar, scale, g_mu, g_logvar));
}

int tae_cross_entropy(int dtype, int64_t rows, int64_t n, const void *x, const int64_t *label, double scale,
                      double *loss, void *g) {
    MINE(is_dtype(dtype));
    NEED(fits(dtype, rows, n, 1) && fits(1, rows, 1, 1) && loss && (rows == 0 || label));
    NEED(rows == 0 || n == 0 || x);
    NEED(in_range(rows, label, n));
    RUN_TO(*loss, cross_entropy(rows, n, x, label, scale, g));
}

int tae_gather(int from, int dtype, int64_t rows, int64_t n, int64_t x_rows, const void *x, const int64_t *index,
               double scale, void *out) {
    MINE(is_dtype(dtype) && (from == dtype || from == 2));
    NEED(fits(1, rows, n, 1) && fits(1, x_rows, n, 1) && fits(1, rows, 1, 1) && (rows == 0 || index));
    NEED(in_range(rows, index, x_rows));
    if (rows == 0 || n == 0) return TAE_DONE;
    NEED(x && out);
    RUN(gather(from, rows, n, x, index, scale, out));
}

#define ROWS(name)                                                                       \
    int tae_##name(int dtype, int64_t rows, int64_t n, const void *x, void *out) {       \
        MINE(is_dtype(dtype));                                                           \
        NEED(fits(dtype, rows, n, 1) && (rows == 0 || n == 0 || (x && out)));            \
        RUN(name(rows, n, x, out));                                                      \
    }
ROWS(softmax)
ROWS(log_softmax)

#define ROWS_BACKWARD(name)                                                                          \
    int tae_##name(int dtype, int64_t rows, int64_t n, const void *g, const void *y, void *out) {    \
        MINE(is_dtype(dtype));                                                                       \
        NEED(fits(dtype, rows, n, 1) && (rows == 0 || n == 0 || (g && y && out)));                   \
        RUN(name(rows, n, g, y, out));                                                               \
    }
ROWS_BACKWARD(softmax_backward)
ROWS_BACKWARD(log_softmax_backward)

int tae_logsumexp(int dtype, int64_t rows, int64_t n, const void *x, void *out) {
    MINE(is_dtype(dtype));
    NEED(fits(dtype, rows, n, 1) && fits(dtype, rows, 1, 1) && (rows == 0 || (out && (n == 0 || x))));
    RUN(logsumexp(rows, n, x, out));
}

int tae_sgd(int dtype, int64_t n, void *p, const void *g, void *velocity,
            double lr, double momentum, int nesterov, double weight_decay) {
    MINE(is_dtype(dtype));
    NEED(fits(dtype, n, 1, 1) && (n == 0 || (p && g && (velocity != NULL) == (momentum != 0))));
    RUN(sgd(n, p, g, velocity, lr, momentum, nesterov, weight_decay));
}

int tae_adam(int dtype, int64_t n, void *p, const void *g, void *m, void *v, double lr, double beta1, double beta2,
             double eps, double weight_decay, int decoupled, int64_t step) {
    MINE(is_dtype(dtype));
    NEED(fits(dtype, n, 1, 1) && step >= 1 && (n == 0 || (p && g && m && v)));
    RUN(adam(n, p, g, m, v, lr, beta1, beta2, eps, weight_decay, decoupled, step));
}

int tae_rmsprop(int dtype, int64_t n, void *p, const void *g, void *v, void *m, void *velocity, double lr, double alpha,
                double eps, double momentum, double weight_decay) {
    MINE(is_dtype(dtype));
    NEED(fits(dtype, n, 1, 1) && (n == 0 || (p && g && v && (velocity != NULL) == (momentum != 0))));
    RUN(rmsprop(n, p, g, v, m, velocity, lr, alpha, eps, momentum, weight_decay));
}

int tae_adagrad(int dtype, int64_t n, void *p, const void *g, void *v, double lr, double eps, double weight_decay) {
    MINE(is_dtype(dtype));
    NEED(fits(dtype, n, 1, 1) && (n == 0 || (p && g && v)));
    RUN(adagrad(n, p, g, v, lr, eps, weight_decay));
}

int tae_adadelta(int dtype, int64_t n, void *p, const void *g, void *v, void *u, double lr, double rho, double eps,
                 double weight_decay) {
    MINE(is_dtype(dtype));
    NEED(fits(dtype, n, 1, 1) && (n == 0 || (p && g && v && u)));
    RUN(adadelta(n, p, g, v, u, lr, rho, eps, weight_decay));
}

int tae_noise(int kind, int dtype, int64_t n, uint64_t key, uint64_t counter, double p, void *out) {
    MINE(is_dtype(dtype) && kind >= 0 && kind < NOISE_KINDS);
    NEED(fits(dtype, n, 1, 1) && (n == 0 || out));
    RUN(noise(kind, 0, n, key, counter, p, out));
}
