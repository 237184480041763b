/* plan.c: runs a whole training step from one call: an interpreter over a list of instructions.
 *
 * What it promises not to do: it allocates nothing, knows no model, and touches no memory but the plan's buffers: every
 * place of every instruction is measured against its buffer before the first run (and, built with -DTAE_CHECKED, again
 * whenever an instruction runs).
 *
 * Each instruction has a function that checks it, one that runs it, and, where it is cut into tasks, one that runs a
 * part of it, by the kernel of the ISA in force.  What is cut into parts by the number of threads gives the same bits
 * whatever the cut; sums are cut by size alone (chain.inc). */
#include "internal.h"

/* ---- places ------------------------------------------------------------------------------------------------------ */

static int64_t itemsize(int dtype) { return dtype == 2 || dtype == 3 ? 1 : dtype == 0 ? 4 : 8; }

static void *memory_of(const tae_plan *plan, tae_place at, int dtype) {
    char *memory = at.buffer < 0 ? NULL : plan->buffer[at.buffer].memory;
    return memory ? memory + at.offset * itemsize(dtype) : NULL;
}

/* What an instruction's kind does not use is no place, whatever stood there. */
static const tae_place nowhere = {-1, 0};

/* The most elements of an array, empty axes not counted, and the longest stride: what is computed from them, even where
 * there is nothing to do, does not overflow. */
#define MOST 0x1p48

enum { READS, WRITES };

/* Are all elements of an array of these sizes and strides in the buffer?  In double, which cannot overflow, and is
 * exact for what fits into memory. */
static int inside(const tae_plan *plan, int how, int dtype, tae_place at, int axes, const int64_t *sizes,
                  const int64_t *strides) {
    if (at.buffer < 0 || at.buffer >= plan->buffers) return 0;
    const tae_buffer *buffer = &plan->buffer[at.buffer];
    double low = (double)at.offset, high = low + 1, elements = 1;
    int empty = 0;
    for (int i = 0; i < axes; i++) {
        const double size = (double)sizes[i], stride = (double)strides[i], reach = (size - 1) * stride;
        if (size < 0 || stride < -MOST || stride > MOST) return 0;
        if (size == 0) empty = 1;
        else elements *= size;
        if (reach < 0) low += reach;
        else high += reach;
    }
    if (elements > MOST || at.offset < -(int64_t)MOST || at.offset > (int64_t)MOST) return 0;
    if (how == WRITES && !buffer->writeable) return 0;
    if ((uintptr_t)buffer->memory % (uintptr_t)itemsize(dtype)) return 0;
    return empty || (low >= 0 && high * (double)itemsize(dtype) <= (double)buffer->bytes);
}

/* A contiguous array of a b elements. */
static int holds(const tae_plan *plan, int how, int dtype, tae_place at, int64_t a, int64_t b) {
    const int64_t sizes[2] = {a, b}, strides[2] = {b, 1};
    return inside(plan, how, dtype, at, 2, sizes, strides);
}

/* So many bytes of scratch an instruction needs. */
static void need_scratch(tae_plan *plan, int64_t bytes) {
    if (bytes > plan->scratch_bytes) plan->scratch_bytes = bytes;
}

/* ---- cutting ----------------------------------------------------------------------------------------------------- */

enum { ALONE = 5000 };  /* nanoseconds of work that another thread is not asked to share */

static void in_tasks(int64_t tasks, double cost, tae_task *task, void *context) {
    if (cost < (double)ALONE || tasks < 2)
        for (int64_t i = 0; i < tasks; i++) task(context, i);
    else
        tae_parallel(tasks, cost, task, context);
}

/* One instruction at work.  Its parts are ranges of 0 .. n - 1 that begin at multiples of `share`. */
typedef struct work {
    const tae_plan *plan;
    const tae_instruction *instruction;
    const tae_kernels *kernel;
    void (*part)(const struct work *work, int64_t first, int64_t end);
    int64_t n, share;
} work;

static void *at(const work *w, tae_place place) { return memory_of(w->plan, place, w->instruction->dtype); }

static void part_task(void *context, int64_t task) {
    const work *w = context;
    const int64_t first = task * w->share, end = first + w->share < w->n ? first + w->share : w->n;
    const fp_mode mode = enter();
    w->part(w, first, end);
    leave(mode);
}

/* One part for each thread, and the caller, which begins, takes the same one in every step: its cache knows it. */
static int in_parts(const tae_plan *plan, const tae_instruction *instruction, int64_t n, int64_t grain, double cost,
                    void (*part)(const work *, int64_t, int64_t)) {
    work w = {plan, instruction, tae_kernels_of(instruction->dtype), part, n, n};
    const int64_t parts = cost < (double)ALONE ? 1 : tae_threads();
    if (n <= 0) return 1;
    if (parts > 1) w.share = ((n + parts - 1) / parts + grain - 1) / grain * grain;
    in_tasks((n + w.share - 1) / w.share, cost, part_task, &w);
    return 1;
}

/* ---- gemm -------------------------------------------------------------------------------------------------------- */

static int check_gemm(tae_plan *plan, tae_instruction *it) {
    const tae_plan_gemm *q = &it->gemm;
    int64_t sizes[66], strides[66], items = 1;
    const int axes = q->axes;
    if (q->pieces < 0 || q->pieces > 3) return 0;
    if (axes < 0 || axes > 62 || (axes && (!q->sizes || !q->a_steps || !q->b_steps))) return 0;
    if (q->activation < -1 || q->activation >= UNARY_OPS || (double)q->m * (double)q->n > MOST) return 0;
    if (axes && (q->bias.buffer >= 0 || q->activation >= 0 || q->c_rs != q->n)) return 0;
    for (int i = 0; i < axes; i++) sizes[i] = q->sizes[i], strides[i] = q->a_steps[i];
    sizes[axes] = q->m, strides[axes] = q->a_rs, sizes[axes + 1] = q->k, strides[axes + 1] = q->a_cs;
    if (!inside(plan, READS, it->dtype, q->a, axes + 2, sizes, strides)) return 0;
    for (int i = 0; i < axes; i++) strides[i] = q->b_steps[i];
    sizes[axes] = q->k, strides[axes] = q->b_rs, sizes[axes + 1] = q->n, strides[axes + 1] = q->b_cs;
    if (!inside(plan, READS, it->dtype, q->b, axes + 2, sizes, strides)) return 0;
    for (int i = 0; i < axes; i++) {
        if (q->sizes[i] < 0 || (double)items * (double)q->sizes[i] > MOST) return 0;
        items *= q->sizes[i];
    }
    sizes[0] = items, strides[0] = q->m * q->n, sizes[1] = q->m, strides[1] = q->c_rs, sizes[2] = q->n, strides[2] = 1;
    if (!inside(plan, WRITES, it->dtype, q->c, 3, sizes, strides) || (q->c_rs < q->n && q->m > 1)) return 0;
    return q->bias.buffer < 0 || holds(plan, READS, it->dtype, q->bias, 1, q->n);
}

static int run_gemm(tae_plan *plan, tae_instruction *it) {
    const tae_plan_gemm *q = &it->gemm;
    const int dtype = it->dtype;
    const void *a = memory_of(plan, q->a, dtype), *b = memory_of(plan, q->b, dtype);
    void *c = memory_of(plan, q->c, dtype);
    const int split = q->pieces && dtype == 0 && q->c_rs == q->n &&
                      tae_gemm_split(q->pieces, q->axes, q->sizes, q->a_steps, q->b_steps, q->m, q->n, q->k, a, q->a_rs,
                                     q->a_cs, b, q->b_rs, q->b_cs, c, q->alpha, q->beta) == TAE_DONE;
    if (split && q->bias.buffer < 0 && q->activation < 0) return 1;
    if (q->axes)
        return tae_gemm_stack(dtype, q->axes, q->sizes, q->a_steps, q->b_steps, q->m, q->n, q->k, a, q->a_rs, q->a_cs,
                              b, q->b_rs, q->b_cs, c, q->alpha, q->beta) == TAE_DONE;
    return tae_gemm(dtype, q->m, q->n, split ? 0 : q->k, a, q->a_rs, q->a_cs, b, q->b_rs, q->b_cs, c, q->c_rs,
                    memory_of(plan, q->bias, dtype), q->activation, q->param, q->alpha, split ? 1 : q->beta) == TAE_DONE;
}

/* ---- chain ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int sources;
} chain_ops[] = {
#define CHAIN(name, sources, expression) {#name, sources},
#include "chain.def"
#undef CHAIN
};

const char *tae_chain_name(int code) { return code >= 0 && code < CHAIN_OPS ? chain_ops[code].name : NULL; }

int tae_chain_ops(void) { return CHAIN_OPS; }

static int sources_of(int code) {
    return code < CHAIN_OPS ? chain_ops[code].sources : code < CHAIN_OPS + UNARY_OPS ? 1 : 2;
}

/* Does the op read source j as a whole tile, even if it is one value?  (kernels.inc repeats g alone.) */
static int needs_tile(int code, int j) { return code >= CHAIN_OPS && (code < CHAIN_OPS + UNARY_OPS || j == 1); }

static int64_t divided(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* How the elements are cut: Note [Blocks of a chain].  Blocks are small enough for several threads to get equal shares
 * of a middling chain, and large enough to be worth a task. */
static void shape_chain(tae_chain *c, int64_t tile) {
    enum { SMALL = 4096, LARGE = 16384, SHARES = 16, LINE = 64 };
    int whole_rows = 0;
    double each = 0;
    for (int i = 0; i < c->outputs; i++) whole_rows |= c->output[i].kind >= TAE_SUM_ROWS;
    c->pieces = divided(c->cols, tile);
    c->piece = c->pieces > 1 ? divided(divided(c->cols, c->pieces), LINE) * LINE : c->cols;
    c->pieces = divided(c->cols, c->piece);
    c->tile_rows = c->pieces > 1 ? 1 : tile / c->cols < c->rows ? tile / c->cols : c->rows;
    const int64_t all = c->rows * c->cols, tiles = divided(c->rows, c->tile_rows) * c->pieces;
    const int64_t wanted = all / SHARES < SMALL ? SMALL : all / SHARES > LARGE ? LARGE : all / SHARES;
    c->block_tiles = wanted / (c->tile_rows * c->piece);
    if (c->block_tiles < 1) c->block_tiles = 1;
    if (whole_rows) c->block_tiles = divided(c->block_tiles, c->pieces) * c->pieces;
    c->blocks = divided(tiles, c->block_tiles);
    for (int i = 0; i < c->ops; i++) each += c->op[i].code < CHAIN_OPS ? 0.07 : 0.3; /* nanoseconds */
    c->cost = (double)all * (each + 0.05 * (c->operands + c->outputs));
}

/* So many values are in an output. */
static int64_t length_of(const tae_chain *c, int kind) {
    return kind == TAE_SUM ? 1 : kind == TAE_SUM_ROWS ? c->cols : kind == TAE_SUM_COLS ? c->rows : c->rows * c->cols;
}

static int is_partial(int kind) { return kind == TAE_SUM || kind == TAE_SUM_ROWS; }

static int check_chain(tae_plan *plan, tae_instruction *it) {
    tae_chain *c = &it->chain;
    const int64_t tile = CHAIN_TILE_BYTES / itemsize(it->dtype);
    uint64_t written = 0;
    _Static_assert(2 * CHAIN_MOST * CHAIN_SLOT_BYTES <= SCRATCH_BYTES && CHAIN_MOST <= 64, "room for the registers");
    if (c->rows < 0 || c->cols < 0 || (double)c->rows * (double)c->cols > MOST) return 0;
    if (c->registers < 0 || c->registers > CHAIN_MOST || c->operands < 0 || c->operands > CHAIN_MOST) return 0;
    if (c->outputs < 0 || c->outputs > CHAIN_MOST || c->ops < 0) return 0;
    if ((c->operands && !c->operand) || (c->ops && !c->op) || (c->outputs && !c->output)) return 0;
    for (int i = 0; i < c->operands; i++) {
        const tae_chain_operand *x = &c->operand[i];
        const int64_t rows = x->mode == TAE_FULL || x->mode == TAE_COLUMN ? c->rows : 1;
        const int64_t cols = x->mode == TAE_FULL || x->mode == TAE_ROW ? c->cols : 1;
        if (x->mode < TAE_FULL || x->mode > TAE_NUMBER || (x->spread & ~1)) return 0;
        if (x->mode != TAE_NUMBER && !holds(plan, READS, it->dtype, x->at, rows, cols)) return 0;
    }
    for (int i = 0; i < c->ops; i++) {
        const tae_chain_op *op = &c->op[i];
        if (op->code < 0 || op->code >= CHAIN_OPS + 2 * UNARY_OPS || op->to < 0 || op->to >= c->registers) return 0;
        for (int j = 0; j < 3; j++) {
            const int x = op->from[j], used = j < sources_of(op->code);
            if (x >= c->registers || ~x >= c->operands) return 0;
            if (used && x >= 0 && !(written >> x & 1)) return 0;
            if (used && x < 0 && needs_tile(op->code, j) && c->operand[~x].mode >= TAE_COLUMN && !c->operand[~x].spread)
                return 0;
        }
        if (op->direct < -1 || op->direct >= c->outputs) return 0;
        if (op->direct >= 0 && c->output[op->direct].kind != TAE_STORE) return 0;
        written |= (uint64_t)1 << op->to;
    }
    for (int i = 0; i < c->outputs; i++) {
        const tae_chain_output *out = &c->output[i];
        const int64_t rows = out->kind == TAE_STORE || out->kind == TAE_SUM_COLS ? c->rows : 1;
        const int64_t cols = out->kind == TAE_STORE || out->kind == TAE_SUM_ROWS ? c->cols : 1;
        if (out->kind < TAE_STORE || out->kind > TAE_SUM_COLS) return 0;
        if (out->from < 0 || out->from >= c->registers || !(written >> out->from & 1)) return 0;
        if (!holds(plan, WRITES, it->dtype, out->at, rows, cols)) return 0;
    }
    if (c->rows == 0 || c->cols == 0) return 1;
    shape_chain(c, tile);
    int64_t scratch = 0;
    for (int i = 0; i < c->outputs; i++) {
        const int64_t length = length_of(c, c->output[i].kind);
        if (!is_partial(c->output[i].kind)) continue;
        if ((double)c->blocks * (double)length > MOST) return 0;
        scratch += divided(c->blocks * length * itemsize(it->dtype), 64) * 64;
    }
    need_scratch(plan, scratch);
    return 1;
}

typedef struct {
    chain_call call;
    const tae_kernels *kernel;
    int64_t share;
} chain_work;

/* So many blocks side by side: the rows that a thread has computed in a product before are in its cache. */
static void chain_task(void *context, int64_t task) {
    const chain_work *w = context;
    const int64_t first = task * w->share, end = first + w->share, blocks = w->call.chain->blocks;
    const fp_mode mode = enter();
    for (int64_t block = first; block < end && block < blocks; block++) w->kernel->chain(&w->call, block, tae_scratch());
    leave(mode);
}

static int run_chain(tae_plan *plan, tae_instruction *it) {
    const tae_chain *c = &it->chain;
    const int dtype = it->dtype, empty = c->rows == 0 || c->cols == 0;
    chain_work w;
    char *scratch = plan->scratch;
    w.kernel = tae_kernels_of(dtype);
    w.call.chain = c;
    for (int i = 0; i < c->operands; i++)
        w.call.operand[i] = c->operand[i].mode == TAE_NUMBER ? NULL : memory_of(plan, c->operand[i].at, dtype);
    for (int i = 0; i < c->outputs; i++) {
        const int kind = c->output[i].kind;
        w.call.output[i] = memory_of(plan, c->output[i].at, dtype);
        if (empty) w.kernel->fill(length_of(c, kind), 0, w.call.output[i]);  /* the sum of nothing */
        else if (is_partial(kind) && c->blocks > 1) {
            w.call.output[i] = scratch;
            scratch += divided(c->blocks * length_of(c, kind) * itemsize(dtype), 64) * 64;
        }
    }
    if (empty) return 1;
    w.share = divided(c->blocks, tae_threads());
    in_tasks(divided(c->blocks, w.share), c->cost, chain_task, &w);
    for (int i = 0; i < c->outputs && c->blocks > 1; i++)
        if (is_partial(c->output[i].kind)) {
            const fp_mode mode = enter();
            w.kernel->sum(1, c->blocks, length_of(c, c->output[i].kind), w.call.output[i],
                          memory_of(plan, c->output[i].at, dtype));
            leave(mode);
        }
    return 1;
}

/* ---- reduce, rows ------------------------------------------------------------------------------------------------ */

static int check_reduce(tae_plan *plan, tae_instruction *it) {
    const tae_plan_reduce *q = &it->reduce;
    if (q->kind < TAE_REDUCE_SUM || q->kind > TAE_REDUCE_ARGMIN || (q->kind != TAE_REDUCE_SUM && q->n < 1)) return 0;
    if (q->n < 0 || q->inner < 0 || (double)q->n * (double)q->inner > MOST) return 0;
    const int64_t sizes[3] = {q->outer, q->n, q->inner}, strides[3] = {q->n * q->inner, q->inner, 1};
    return inside(plan, READS, it->dtype, q->x, 3, sizes, strides) &&
           holds(plan, WRITES, q->kind < TAE_REDUCE_ARGMAX ? it->dtype : 4, q->out, q->outer, q->inner);
}

static void reduce_part(const work *w, int64_t first, int64_t end) {
    const tae_plan_reduce *q = &w->instruction->reduce;
    const int64_t rows = end - first, size = itemsize(w->instruction->dtype);
    const char *x = (const char *)at(w, q->x) + first * q->n * q->inner * size;
    if (q->kind >= TAE_REDUCE_ARGMAX) {
        int64_t *out = (int64_t *)memory_of(w->plan, q->out, 4) + first * q->inner;
        w->kernel->arg_extreme(q->kind - TAE_REDUCE_ARGMAX, rows, q->n, q->inner, x, out);
        return;
    }
    char *out = (char *)at(w, q->out) + first * q->inner * size;
    if (q->kind == TAE_REDUCE_SUM) w->kernel->sum(rows, q->n, q->inner, x, out);
    else w->kernel->extreme(q->kind - TAE_REDUCE_MAX, rows, q->n, q->inner, x, out);
}

static int run_reduce(tae_plan *plan, tae_instruction *it) {
    const tae_plan_reduce *q = &it->reduce;
    if (q->inner == 0) return 1;
    return in_parts(plan, it, q->outer, 1, (double)q->outer * (double)q->n * (double)q->inner * 0.1, reduce_part);
}

static int check_rows(tae_plan *plan, tae_instruction *it) {
    const tae_plan_rows *q = &it->rows;
    if (q->kind < TAE_SOFTMAX || q->kind > TAE_LOG_SOFTMAX_BACKWARD) return 0;
    if (q->kind >= TAE_SOFTMAX_BACKWARD && !holds(plan, READS, it->dtype, q->y, q->rows, q->n)) return 0;
    return holds(plan, READS, it->dtype, q->x, q->rows, q->n) &&
           holds(plan, WRITES, it->dtype, q->out, q->rows, q->kind == TAE_LOGSUMEXP ? 1 : q->n);
}

static void rows_part(const work *w, int64_t first, int64_t end) {
    const tae_plan_rows *q = &w->instruction->rows;
    const int64_t rows = end - first, offset = first * q->n * itemsize(w->instruction->dtype);
    const char *x = (const char *)at(w, q->x) + offset;
    const char *y = q->kind >= TAE_SOFTMAX_BACKWARD ? (const char *)at(w, q->y) + offset : NULL;
    char *out = at(w, q->out);
    switch (q->kind) {
    case TAE_SOFTMAX: w->kernel->softmax(rows, q->n, x, out + offset); break;
    case TAE_LOG_SOFTMAX: w->kernel->log_softmax(rows, q->n, x, out + offset); break;
    case TAE_LOGSUMEXP: w->kernel->logsumexp(rows, q->n, x, out + first * itemsize(w->instruction->dtype)); break;
    case TAE_SOFTMAX_BACKWARD: w->kernel->softmax_backward(rows, q->n, x, y, out + offset); break;
    case TAE_LOG_SOFTMAX_BACKWARD: w->kernel->log_softmax_backward(rows, q->n, x, y, out + offset); break;
    }
}

static int run_rows(tae_plan *plan, tae_instruction *it) {
    return in_parts(plan, it, it->rows.rows, 1, (double)it->rows.rows * ((double)it->rows.n * 0.5 + 20), rows_part);
}

/* ---- copy, fill -------------------------------------------------------------------------------------------------- */

static int check_copy(tae_plan *plan, tae_instruction *it) {
    const tae_plan_copy *q = &it->copy;
    if (q->from < 0 || q->from > 4 || q->axes < 2 || q->axes > 8) return 0;
    return inside(plan, READS, q->from, q->x, q->axes, q->sizes, q->x_strides) &&
           inside(plan, WRITES, it->dtype, q->out, q->axes, q->sizes, q->out_strides);
}

/* n elements, from one type to another. */
#define COPY(to_type, from_type)                                                                        \
    do {                                                                                                \
        const from_type *x = x_;                                                                        \
        to_type *out = out_;                                                                            \
        if (add && xs == 1 && outs == 1) {                                                              \
            IVDEP for (int64_t i = 0; i < n; i++) out[i] += (to_type)x[i];                              \
        } else if (add) {                                                                               \
            for (int64_t i = 0; i < n; i++) out[i * outs] += (to_type)x[i * xs];                        \
        } else if (xs == 1 && outs == 1) {                                                              \
            IVDEP for (int64_t i = 0; i < n; i++) out[i] = (to_type)x[i];                               \
        } else {                                                                                        \
            for (int64_t i = 0; i < n; i++) out[i * outs] = (to_type)x[i * xs];                         \
        }                                                                                               \
    } while (0)
#define COPY_TO(type)                               \
    do {                                            \
        if (from == 0) COPY(type, float);           \
        else if (from == 1) COPY(type, double);     \
        else if (from == 4) COPY(type, int64_t);    \
        else COPY(type, uint8_t);                   \
    } while (0)
static void copy_line(int from, int dtype, int add, int64_t n, const void *x_, int64_t xs, void *out_, int64_t outs) {
    if (dtype == 0) COPY_TO(float);
    else COPY_TO(double);
}
#undef COPY
#undef COPY_TO

/* Part of the first axis that has one; an odometer turns over all axes but the last two. */
static void copy_part(const work *w, int64_t first, int64_t end) {
    const tae_plan_copy *q = &w->instruction->copy;
    const int dtype = w->instruction->dtype, outer = q->axes - 2;
    const int64_t in = itemsize(q->from), size = itemsize(dtype);
    int64_t sizes[8], at_axis[8] = {0};
    const char *x = memory_of(w->plan, q->x, q->from);
    char *out = at(w, q->out);
    int axis = 0;
    while (axis < q->axes - 1 && q->sizes[axis] == 1) axis++;
    memcpy(sizes, q->sizes, sizeof sizes);
    sizes[axis] = end - first;
    x += first * q->x_strides[axis] * in;
    out += first * q->out_strides[axis] * size;
    const int64_t rows = sizes[outer], n = sizes[outer + 1], xr = q->x_strides[outer], xs = q->x_strides[outer + 1];
    const int64_t outr = q->out_strides[outer], outs = q->out_strides[outer + 1];
    const int turns = q->from == dtype && !q->add && xr == 1 && xs >= rows && outs == 1 && outr >= n && rows > 1;
    for (;;) {
        if (turns) w->kernel->transpose(rows, n, x, xs, out, outr);
        else
            for (int64_t i = 0; i < rows; i++)
                copy_line(q->from, dtype, q->add, n, x + i * xr * in, xs, out + i * outr * size, outs);
        int i = outer - 1;
        for (; i >= 0; i--) {
            x += q->x_strides[i] * in, out += q->out_strides[i] * size;
            if (++at_axis[i] < sizes[i]) break;
            x -= sizes[i] * q->x_strides[i] * in, out -= sizes[i] * q->out_strides[i] * size;
            at_axis[i] = 0;
        }
        if (i < 0) return;
    }
}

static int run_copy(tae_plan *plan, tae_instruction *it) {
    const tae_plan_copy *q = &it->copy;
    double all = 1;
    int axis = 0;
    for (int i = 0; i < q->axes; i++) all *= (double)q->sizes[i];
    if (all == 0) return 1;
    while (axis < q->axes - 1 && q->sizes[axis] == 1) axis++;
    return in_parts(plan, it, q->sizes[axis], 1, q->shared ? 0 : all * 0.3, copy_part);
}

static int check_fill(tae_plan *plan, tae_instruction *it) {
    return holds(plan, WRITES, it->dtype, it->fill.out, 1, it->fill.n);
}

static void fill_part(const work *w, int64_t first, int64_t end) {
    const tae_plan_fill *q = &w->instruction->fill;
    w->kernel->fill(end - first, q->value, (char *)at(w, q->out) + first * itemsize(w->instruction->dtype));
}

static int run_fill(tae_plan *plan, tae_instruction *it) {
    return in_parts(plan, it, it->fill.n, 1024, (double)it->fill.n * 0.05, fill_part);
}

/* ---- noise, gather ----------------------------------------------------------------------------------------------- */

static int check_noise(tae_plan *plan, tae_instruction *it) {
    const tae_plan_noise *q = &it->noise;
    return q->kind >= 0 && q->kind < NOISE_KINDS && holds(plan, WRITES, it->dtype, q->out, 1, q->n);
}

static void noise_part(const work *w, int64_t first, int64_t end) {
    const tae_plan_noise *q = &w->instruction->noise;
    char *out = (char *)at(w, q->out) + first * itemsize(w->instruction->dtype);
    w->kernel->noise(q->kind, (uint64_t)first, end - first, q->key, q->counter, q->p, out);
}

static int run_noise(tae_plan *plan, tae_instruction *it) {
    in_parts(plan, it, it->noise.n, NOISE_CHUNK, (double)it->noise.n * 0.7, noise_part);
    it->noise.counter += it->noise.counter_step;
    return 1;
}

static int in_range(int64_t n, const int64_t *index, int64_t end) {
    int bad = 0;
    IVDEP for (int64_t i = 0; i < n; i++) bad |= (index[i] < 0) | (index[i] >= end);
    return !bad;
}

static int check_gather(tae_plan *plan, tae_instruction *it) {
    const tae_plan_gather *q = &it->gather;
    return (q->from == it->dtype || q->from == 2) && holds(plan, READS, q->from, q->x, q->x_rows, q->n) &&
           holds(plan, READS, 4, q->index, 1, q->rows) && holds(plan, WRITES, it->dtype, q->out, q->rows, q->n);
}

static void gather_part(const work *w, int64_t first, int64_t end) {
    const tae_plan_gather *q = &w->instruction->gather;
    const int64_t *index = (const int64_t *)memory_of(w->plan, q->index, 4) + first;
    char *out = (char *)at(w, q->out) + first * q->n * itemsize(w->instruction->dtype);
    w->kernel->gather(q->from, end - first, q->n, memory_of(w->plan, q->x, q->from), index, q->scale, out);
}

static int run_gather(tae_plan *plan, tae_instruction *it) {
    const tae_plan_gather *q = &it->gather;
    if (!in_range(q->rows, memory_of(plan, q->index, 4), q->x_rows)) return 0;
    return q->n == 0 || in_parts(plan, it, q->rows, 1, (double)q->rows * (double)q->n * 0.2, gather_part);
}

/* ---- scatter, within --------------------------------------------------------------------------------------------- */

static int check_scatter(tae_plan *plan, tae_instruction *it) {
    const tae_plan_scatter *q = &it->scatter;
    if ((q->ones & ~1) || !holds(plan, READS, 4, q->index, 1, q->rows)) return 0;
    if (q->ones) return holds(plan, WRITES, it->dtype, q->out, q->rows, q->n);
    return holds(plan, READS, it->dtype, q->x, q->rows, q->n) && holds(plan, WRITES, it->dtype, q->out, q->out_rows, q->n);
}

/* In one thread: rows that meet are added in their order, whatever the number of threads. */
#define SCATTER(type)                                                                     \
    for (int64_t r = 0; r < q->rows; r++) {                                               \
        if (q->ones) {                                                                    \
            ((type *)out)[r * q->n + index[r]] = 1;                                       \
        } else {                                                                          \
            const type *row = (const type *)memory_of(plan, q->x, it->dtype) + r * q->n;  \
            type *to = (type *)out + index[r] * q->n;                                     \
            for (int64_t j = 0; j < q->n; j++) to[j] += row[j];                           \
        }                                                                                 \
    }
static int run_scatter(tae_plan *plan, tae_instruction *it) {
    const tae_plan_scatter *q = &it->scatter;
    const int64_t *index = memory_of(plan, q->index, 4);
    void *out = memory_of(plan, q->out, it->dtype);
    if (!in_range(q->rows, index, q->ones ? q->n : q->out_rows)) return 0;
    tae_kernels_of(it->dtype)->fill((q->ones ? q->rows : q->out_rows) * q->n, 0, out);
    if (it->dtype) SCATTER(double)
    else SCATTER(float)
    return 1;
}
#undef SCATTER

static int check_within(tae_plan *plan, tae_instruction *it) {
    const tae_plan_within *q = &it->within;
    return q->from >= 0 && q->from <= 4 && holds(plan, READS, q->from, q->x, 1, q->n);
}

#define WITHIN(type) IVDEP for (int64_t i = 0; i < q->n; i++) \
    bad |= ((double)((const type *)x)[i] < q->low) | ((double)((const type *)x)[i] > q->high)
static int run_within(tae_plan *plan, tae_instruction *it) {
    const tae_plan_within *q = &it->within;
    const void *x = memory_of(plan, q->x, q->from);
    int bad = 0;
    switch (q->from) {
    case 0: WITHIN(float); break;
    case 1: WITHIN(double); break;
    case 4: WITHIN(int64_t); break;
    default: WITHIN(uint8_t);
    }
    return !bad;
}
#undef WITHIN

/* ---- windows: convolution, pooling, upsampling ------------------------------------------------------------------- */

static int check_windows(tae_plan *plan, tae_instruction *it) {
    tae_plan_windows *q = &it->windows;
    const tae_windows *s = &q->windows;
    if (tae_windows_fit(q->kind, it->dtype, s) != TAE_DONE || q->activation < -1 || q->activation >= UNARY_OPS) return 0;
    const int to_big = q->kind == TAE_CONV2D_TRANSPOSED || q->kind == TAE_MAX_POOL_BACKWARD || q->kind == TAE_SPREAD;
    const int64_t big = s->big[0] * s->big[1] * s->big[2], small = s->small[0] * s->small[1] * s->small[2];
    const int64_t places = s->kernel[0] * s->kernel[1] * (s->big[0] / s->groups);
    const int to_small = !to_big && q->kind != TAE_CONV2D_WEIGHT;
    if (!holds(plan, to_big ? WRITES : READS, it->dtype, q->big, s->images, big)) return 0;
    if (!holds(plan, to_small ? WRITES : READS, it->dtype, q->small, s->images, small)) return 0;
    if (q->kind != TAE_MAX_POOL_BACKWARD) q->pooled = nowhere;
    if (q->kind > TAE_CONV2D_WEIGHT) q->weight = nowhere;
    if (q->kind >= TAE_CONV2D_WEIGHT) q->bias = nowhere;
    if (q->kind == TAE_MAX_POOL_BACKWARD) {
        need_scratch(plan, s->images * small);
        return holds(plan, READS, it->dtype, q->pooled, s->images, big);
    }
    if (q->kind > TAE_CONV2D_WEIGHT) return 1;
    if (q->kind == TAE_CONV2D_WEIGHT) {
        need_scratch(plan, tae_conv2d_weight_room(s) * itemsize(it->dtype));
        return holds(plan, WRITES, it->dtype, q->weight, s->small[0], places);
    }
    return holds(plan, READS, it->dtype, q->weight, s->small[0], places) &&
           (q->bias.buffer < 0 || holds(plan, READS, it->dtype, q->bias, 1, to_big ? s->big[0] : s->small[0]));
}

static int run_windows(tae_plan *plan, tae_instruction *it) {
    const tae_plan_windows *q = &it->windows;
    const tae_windows *s = &q->windows;
    const int dtype = it->dtype;
    void *big = memory_of(plan, q->big, dtype), *small = memory_of(plan, q->small, dtype);
    void *weight = memory_of(plan, q->weight, dtype), *bias = memory_of(plan, q->bias, dtype);
    switch (q->kind) {
    case TAE_CONV2D: return tae_conv2d(dtype, s, big, weight, bias, q->activation, q->param, small) == TAE_DONE;
    case TAE_CONV2D_TRANSPOSED:
        return tae_conv2d_transposed(dtype, s, small, weight, bias, q->activation, q->param, big) == TAE_DONE;
    case TAE_CONV2D_WEIGHT: return tae_conv2d_weight(dtype, s, big, small, weight, plan->scratch) == TAE_DONE;
    case TAE_MAX_POOL: return tae_max_pool(dtype, s, big, small, NULL) == TAE_DONE;
    case TAE_MAX_POOL_BACKWARD:
        return tae_max_pool(dtype, s, memory_of(plan, q->pooled, dtype), NULL, plan->scratch) == TAE_DONE &&
               tae_max_pool_backward(dtype, s, small, plan->scratch, big) == TAE_DONE;
    case TAE_SUM_POOL: return tae_sum_pool(dtype, s, big, q->param, small) == TAE_DONE;
    default: return tae_spread(dtype, s, small, q->param, big) == TAE_DONE;
    }
}

/* ---- recurrent layers -------------------------------------------------------------------------------------------- */

static int64_t width_of(const tae_plan_recurrent *q) { return q->hidden * cell_gates[q->kind]; }
static int64_t room_of(const tae_plan_recurrent *q) { return q->hidden * cell_room[q->kind]; }

static int check_recurrent(tae_plan *plan, tae_instruction *it) {
    tae_plan_recurrent *q = &it->recurrent;
    const int dtype = it->dtype, states = q->kind == CELL_LSTM ? 2 : 1;
    if (q->kind < 0 || q->kind >= CELL_KINDS || (q->backward & ~1) || (q->activation & ~1)) return 0;
    if ((q->reverse & ~1) || (q->z_repeats & ~1) || q->steps < 1 || q->n < 1 || q->hidden < 1) return 0;
    if ((double)q->hidden * (double)q->hidden > 0x1p44 || (double)q->steps * (double)q->n * (double)q->hidden > 0x1p44)
        return 0;
    if ((q->c.buffer >= 0) != (states == 2)) return 0;
    const int64_t rows = q->steps * q->n, wide = width_of(q);
    if (q->lengths.buffer >= 0 && !holds(plan, READS, 4, q->lengths, 1, q->n)) return 0;
    const int keeps = q->gates.buffer >= 0;
    if (keeps && (q->kind == CELL_RNN || !holds(plan, q->backward ? READS : WRITES, dtype, q->gates, rows, room_of(q))))
        return 0;
    if (keeps && q->backward) q->z = nowhere;
    else if (!holds(plan, READS, dtype, q->z, q->z_repeats ? q->n : rows, wide)) return 0;
    if (!holds(plan, READS, dtype, q->weight, q->hidden, wide) || !holds(plan, READS, dtype, q->h, q->n, q->hidden))
        return 0;
    if (q->bias.buffer >= 0 && !holds(plan, READS, dtype, q->bias, 1, wide)) return 0;
    if (states == 2 && !holds(plan, READS, dtype, q->c, q->n, q->hidden)) return 0;
    if (!holds(plan, q->backward ? READS : WRITES, dtype, q->y, states * rows, q->hidden)) return 0;
    if (!q->backward) {
        if (!keeps) need_scratch(plan, q->n * room_of(q) * itemsize(dtype));
        return 1;
    }
    need_scratch(plan, (wide * q->hidden + (q->kind == CELL_GRU ? rows * wide : 0)) * itemsize(dtype));
    if (!holds(plan, READS, dtype, q->g, states * rows, q->hidden)) return 0;
    if (!holds(plan, WRITES, dtype, q->dz, rows, wide) || !holds(plan, WRITES, dtype, q->dweight, q->hidden, wide))
        return 0;
    if (q->dbias.buffer >= 0 && !holds(plan, WRITES, dtype, q->dbias, 1, wide)) return 0;
    if (states == 2 && !holds(plan, WRITES, dtype, q->dc, q->n, q->hidden)) return 0;
    return holds(plan, WRITES, dtype, q->dh, q->n, q->hidden);
}

static int run_recurrent(tae_plan *plan, tae_instruction *it) {
    const tae_plan_recurrent *q = &it->recurrent;
    const int dtype = it->dtype;
    const int64_t n = q->n, k = q->hidden, wide = width_of(q), size = itemsize(dtype), last = q->steps - 1;
    const int64_t *lengths = memory_of(plan, q->lengths, 4);
    const void *z = memory_of(plan, q->z, dtype), *weight = memory_of(plan, q->weight, dtype);
    const void *bias = memory_of(plan, q->bias, dtype), *h = memory_of(plan, q->h, dtype);
    const void *c = memory_of(plan, q->c, dtype);
    char *y = memory_of(plan, q->y, dtype);
    void *gates = memory_of(plan, q->gates, dtype);
    if (!q->backward)
        return tae_recurrent(q->kind, dtype, q->activation, q->reverse, q->steps, n, k, lengths, z, q->z_repeats,
                             weight, bias, h, c, y, plan->scratch, gates) == TAE_DONE;
    char *weight_t = plan->scratch, *dz = memory_of(plan, q->dz, dtype);
    char *du = q->kind == CELL_GRU ? weight_t + wide * k * size : NULL;
    void *dweight = memory_of(plan, q->dweight, dtype), *dbias = memory_of(plan, q->dbias, dtype);
    void *dc = q->kind == CELL_LSTM ? memory_of(plan, q->dc, dtype) : NULL;
    tae_kernels_of(dtype)->transpose(wide, k, weight, wide, weight_t, k);
    if (tae_recurrent_backward(q->kind, dtype, q->activation, q->reverse, q->steps, n, k, lengths, z, q->z_repeats,
                               weight, weight_t, bias, h, c, y, gates, memory_of(plan, q->g, dtype), dz, du,
                               memory_of(plan, q->dh, dtype), dc) != TAE_DONE)
        return 0;
    /* The sum over all steps of the state before, transposed, times the gradient of the sums. */
    const char *sums = du ? du : dz, *before = q->reverse ? y + n * k * size : y;
    const char *first = q->reverse ? sums + last * n * wide * size : sums;
    const char *after = q->reverse ? sums : sums + n * wide * size;
    int status = tae_gemm(dtype, k, wide, n, h, 1, k, first, wide, 1, dweight, wide, NULL, -1, 0, 1, 0);
    if (last)
        status |= tae_gemm(dtype, k, wide, last * n, before, 1, k, after, wide, 1, dweight, wide, NULL, -1, 0, 1, 1);
    if (dbias) status |= tae_sum(dtype, 1, q->steps * n, wide, sums, dbias);
    return status == TAE_DONE;
}

/* ---- update ------------------------------------------------------------------------------------------------------ */

/* RULE(name, how many slots a tensor has, how many numbers there are, the call on n elements): p, g and s[i] are the
 * parameter, its gradient and its slots, x the numbers.  Another rule is another line. */
#define RULES                                                                                                        \
    RULE(sgd, 0, 4, kernel->sgd(n, p, g, NULL, x[0], 0, 0, x[3]))                                                    \
    RULE(sgd, 1, 4, kernel->sgd(n, p, g, s[0], x[0], x[1], x[2] != 0, x[3]))                                         \
    RULE(adam, 2, 6, kernel->adam(n, p, g, s[0], s[1], x[0], x[1], x[2], x[3], x[4], x[5] != 0, step))               \
    RULE(rmsprop, 1, 5, kernel->rmsprop(n, p, g, s[0], NULL, NULL, x[0], x[1], x[2], 0, x[4]))                       \
    RULE(rmsprop, 2, 5, kernel->rmsprop(n, p, g, s[0], NULL, s[1], x[0], x[1], x[2], x[3], x[4]))                    \
    RULE(centered_rmsprop, 2, 5, kernel->rmsprop(n, p, g, s[0], s[1], NULL, x[0], x[1], x[2], 0, x[4]))              \
    RULE(centered_rmsprop, 3, 5, kernel->rmsprop(n, p, g, s[0], s[1], s[2], x[0], x[1], x[2], x[3], x[4]))           \
    RULE(adagrad, 1, 4, kernel->adagrad(n, p, g, s[0], x[0] / (1 + (double)(step - 1) * x[1]), x[2], x[3]))          \
    RULE(adadelta, 2, 4, kernel->adadelta(n, p, g, s[0], s[1], x[0], x[1], x[2], x[3]))

static const struct {
    const char *name;
    int slots, numbers;
} rules[] = {
#define RULE(name, slots, numbers, call) {#name, slots, numbers},
    RULES
#undef RULE
};
enum { RULE_COUNT = sizeof rules / sizeof *rules };

const char *tae_rule_name(int rule) { return rule >= 0 && rule < RULE_COUNT ? rules[rule].name : NULL; }
int tae_rule_slots(int rule) { return rule >= 0 && rule < RULE_COUNT ? rules[rule].slots : -1; }
int tae_rule_numbers(int rule) { return rule >= 0 && rule < RULE_COUNT ? rules[rule].numbers : -1; }

static void apply(int rule, const tae_kernels *kernel, int64_t n, void *p, const void *g, void *const s[3],
                  const double *x, int64_t step) {
    int i = 0;
    (void)step;
#define RULE(name, slots, numbers, call) if (i++ == rule) { call; return; }
    RULES
#undef RULE
}
#undef RULES

static int check_update(tae_plan *plan, tae_instruction *it) {
    tae_plan_update *q = &it->update;
    if (q->rule < 0 || q->rule >= RULE_COUNT || q->tensors < 0 || (q->tensors && !q->tensor) || !q->numbers) return 0;
    q->elements = 0;
    for (int i = 0; i < q->tensors; i++) {
        const tae_plan_tensor *t = &q->tensor[i];
        if (t->step < 0 || t->advance < 0 || (double)t->step > MOST || (double)t->advance > MOST) return 0;
        if (!holds(plan, WRITES, it->dtype, t->p, 1, t->n) || !holds(plan, READS, it->dtype, t->g, 1, t->n)) return 0;
        for (int j = 0; j < rules[q->rule].slots; j++)
            if (!holds(plan, WRITES, it->dtype, t->slot[j], 1, t->n)) return 0;
        if ((double)q->elements + (double)t->n > MOST) return 0;
        q->elements += t->n;
    }
    return 1;
}

/* A range of all tensors one after the other. */
static void update_part(const work *w, int64_t first, int64_t end) {
    const tae_plan_update *q = &w->instruction->update;
    const int64_t size = itemsize(w->instruction->dtype);
    for (int i = 0; i < q->tensors && end > 0; i++) {
        const tae_plan_tensor *t = &q->tensor[i];
        const int64_t from = first > 0 ? first : 0, to = end < t->n ? end : t->n;
        first -= t->n, end -= t->n;
        if (from >= to) continue;
        void *slot[3] = {NULL, NULL, NULL};
        for (int j = 0; j < rules[q->rule].slots; j++) slot[j] = (char *)at(w, t->slot[j]) + from * size;
        apply(q->rule, w->kernel, to - from, (char *)at(w, t->p) + from * size, (char *)at(w, t->g) + from * size, slot,
              q->numbers, t->step + 1);
    }
}

static int run_update(tae_plan *plan, tae_instruction *it) {
    tae_plan_update *q = &it->update;
    const int done = in_parts(plan, it, q->elements, 64, (double)q->elements * 0.25, update_part);
    for (int i = 0; i < q->tensors; i++) q->tensor[i].step += q->tensor[i].advance;
    return done;
}

/* ---- the interpreter --------------------------------------------------------------------------------------------- */

static const struct {
    int (*check)(tae_plan *, tae_instruction *), (*run)(tae_plan *, tae_instruction *);
} kinds[] = {
    [TAE_GEMM] = {check_gemm, run_gemm},
    [TAE_CHAIN] = {check_chain, run_chain},
    [TAE_REDUCE] = {check_reduce, run_reduce},
    [TAE_ROWS] = {check_rows, run_rows},
    [TAE_COPY] = {check_copy, run_copy},
    [TAE_FILL] = {check_fill, run_fill},
    [TAE_NOISE] = {check_noise, run_noise},
    [TAE_GATHER] = {check_gather, run_gather},
    [TAE_UPDATE] = {check_update, run_update},
    [TAE_WINDOWS] = {check_windows, run_windows},
    [TAE_RECURRENT] = {check_recurrent, run_recurrent},
    [TAE_SCATTER] = {check_scatter, run_scatter},
    [TAE_WITHIN] = {check_within, run_within},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static int is_right(tae_plan *plan, tae_instruction *it) {
    if (it->kind < 0 || it->kind >= KINDS || (it->dtype & ~1)) return 0;
    return kinds[it->kind].check(plan, it);
}

int64_t tae_plan_prepare(tae_plan *plan) {
    plan->scratch_bytes = 0;
    for (int64_t i = 0; i < plan->instructions; i++)
        if (!is_right(plan, &plan->instruction[i])) return i;
    for (int64_t i = 0; i < plan->inputs; i++)
        if (plan->input[i] < 0 || plan->input[i] >= plan->buffers) return plan->instructions;
    return -1;
}

/* Inputs get their memory; without any they forget it: an address must not outlive its array. */
static void bring(tae_plan *plan, const void *const *inputs) {
    for (int64_t i = 0; i < plan->inputs; i++)
        plan->buffer[plan->input[i]].memory = inputs ? (void *)inputs[i] : NULL;
}

static int64_t run_range(tae_plan *plan, int64_t first, int64_t last) {
    for (int64_t i = first < 0 ? 0 : first; i < last && i < plan->instructions; i++) {
        tae_instruction *it = &plan->instruction[i];
#ifdef TAE_CHECKED
        if (!is_right(plan, it)) return i;
#endif
        if (!kinds[it->kind].run(plan, it)) return i;
    }
    return -1;
}

int64_t tae_plan_run(tae_plan *plan, int64_t first, int64_t last, const void *const *inputs) {
    bring(plan, inputs);
    const int64_t bad = run_range(plan, first, last);
    bring(plan, NULL);
    return bad;
}

/* A feed is a gather whose data and index are not in buffers of the plan: here is a plan that has them. */
static void feed_plan(const tae_plan *plan, const tae_feed *f, int64_t step, tae_buffer buffer[3], tae_plan *own,
                      tae_instruction *it) {
    const tae_buffer to = f->to.buffer < 0 || f->to.buffer >= plan->buffers ? (tae_buffer){NULL, -1, 0}
                                                                            : plan->buffer[f->to.buffer];
    buffer[0] = (tae_buffer){(void *)f->data, INT64_MAX, 0};
    buffer[1] = (tae_buffer){(void *)(f->index + step * f->batch), INT64_MAX, 0};
    buffer[2] = to;
    *own = (tae_plan){.buffers = 3, .instructions = 1, .buffer = buffer, .instruction = it};
    it->kind = TAE_GATHER, it->dtype = f->dtype;
    it->gather = (tae_plan_gather){f->from, f->batch, f->n, f->data_rows, {0, 0}, {1, 0}, {2, f->to.offset}, f->scale};
}

static int64_t run_epoch(tae_plan *plan, int64_t steps, int64_t feeds, const tae_feed *feed, int64_t losses,
                         const tae_loss *loss) {
    tae_buffer buffer[3];
    tae_plan own;
    tae_instruction it;
    for (int64_t i = 0; i < feeds; i++) {
        feed_plan(plan, &feed[i], 0, buffer, &own, &it);
        if (tae_plan_prepare(&own) >= 0 || (double)steps * (double)feed[i].batch > MOST || !in_range(steps * feed[i].batch, feed[i].index, feed[i].data_rows))
            return plan->instructions + i;
    }
    for (int64_t i = 0; i < losses; i++)
        if ((loss[i].dtype & ~1) || !holds(plan, READS, loss[i].dtype, loss[i].from, 1, 1))
            return plan->instructions + feeds + i;
    for (int64_t step = 0; step < steps; step++) {
        for (int64_t i = 0; i < feeds; i++) {
            feed_plan(plan, &feed[i], step, buffer, &own, &it);
            run_gather(&own, &it);
        }
        const int64_t bad = run_range(plan, 0, plan->instructions);
        if (bad >= 0) return bad;
        for (int64_t i = 0; i < losses; i++) {
            const void *value = memory_of(plan, loss[i].from, loss[i].dtype);
            loss[i].out[step] = loss[i].dtype ? *(const double *)value : (double)*(const float *)value;
        }
    }
    return -1;
}

int64_t tae_plan_epoch(tae_plan *plan, const void *const *inputs, int64_t steps, int64_t feeds, const tae_feed *feed,
                       int64_t losses, const tae_loss *loss) {
    bring(plan, inputs);
    const int64_t bad = run_epoch(plan, steps, feeds, feed, losses, loss);
    bring(plan, NULL);
    return bad;
}
