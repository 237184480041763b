/* conv.c: the public functions of convolution, pooling and upsampling.  Each checks its sizes, says the
 * relation of the two sides in the terms of conv.inc, and cuts the work into tasks.  How it is cut depends on the sizes alone. */
#include "internal.h"

/* Multiply-adds in a nanosecond, for tae_parallel. */
#define CONV_SPEED 30
/* At most so many blocks of images have a sum of their own in a weight's gradient, of so many elements together. */
enum { WEIGHT_BLOCKS = 16, WEIGHT_ROOM = 1 << 21 };
/* Tasks that tae_conv2d aims at: enough for every thread, and each with several images for its table of taps. */
enum { CONV_TASKS = 32 };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t floor_of(int64_t a, int64_t b) { return a >= 0 ? a / b : -up(-a, b); }

static int is_sound(int dtype, const tae_windows *s) {
    const int64_t large = (int64_t)1 << 31;
    if (!s || s->images < 0 || s->groups < 1 || s->groups > large) return 0;
    for (int i = 0; i < 3; i++)
        if (s->big[i] < 1 || s->small[i] < 1 || s->big[i] > large || s->small[i] > large) return 0;
    for (int i = 0; i < 2; i++) {
        if (s->kernel[i] < 1 || s->stride[i] < 1 || s->dilation[i] < 1 || s->before[i] < -large) return 0;
        if (s->kernel[i] > large || s->stride[i] > large || s->dilation[i] > large || s->before[i] > large) return 0;
    }
    if (s->big[0] % s->groups || s->small[0] % s->groups) return 0;
    return fits(dtype, s->big[0], s->big[1], s->big[2]) && fits(dtype, s->small[0], s->small[1], s->small[2])
        && fits(dtype, s->images, s->big[0] * s->big[1] * s->big[2], 1)
        && fits(dtype, s->images, s->small[0] * s->small[1] * s->small[2], 1)
        && fits(dtype, s->kernel[0], s->kernel[1], s->big[0] / s->groups)
        && fits(dtype, s->kernel[0] * s->kernel[1] * (s->big[0] / s->groups), s->small[0], 1);
}

/* ---- the relation along one axis --------------------------------------------------------------------------------- */

/* From big to small. */
static conv_axis gathering(const tae_windows *s, int i) {
    return (conv_axis){.count = s->small[1 + i], .source = s->big[1 + i], .step = s->stride[i], .first = -s->before[i],
                       .move = s->dilation[i], .taps = s->kernel[i], .kernel_step = 1, .to_step = 1};
}

/* From small to those places of big that are `residue` beyond a multiple of the stride, the padding counted too: only
 * every so many-th place of the kernel leads there. */
static conv_axis scattering(const tae_windows *s, int i, int64_t residue) {
    const int64_t stride = s->stride[i], dilation = s->dilation[i], before = s->before[i];
    const int64_t q0 = -floor_of(residue - before, stride);  /* the first such place is not before big's */
    const int64_t q1 = floor_of(s->big[1 + i] - 1 - residue + before, stride);
    conv_axis axis = {.count = most(0, q1 - q0 + 1), .source = s->small[1 + i], .step = 1, .kernel_step = 1,
                      .to_first = q0 * stride + residue - before, .to_step = stride};
    while (axis.kernel_step * dilation % stride) axis.kernel_step++;
    int64_t k = 0;
    while (k < s->kernel[i] && k * dilation % stride != residue) k++;
    if (k < s->kernel[i]) {
        axis.kernel_first = k;
        axis.taps = (s->kernel[i] - 1 - k) / axis.kernel_step + 1;
        axis.first = q0 - (k * dilation - residue) / stride;
        axis.move = -(axis.kernel_step * dilation / stride);
    }
    return axis;
}

/* How many places of y along both axes, and how many channels of x, are done at a time, such that what is read for
 * them fits into the bank.  0 if nothing of use does. */
static int cut(conv_call *q) {
    const conv_axis *down = &q->axis[0], *across = &q->axis[1];
    const int64_t reach = (most(1, down->taps) - 1) * (down->move < 0 ? -down->move : down->move);
    const int64_t more = down->step == 1 ? reach : reach / down->step + 1;  /* rows that taps add */
    const int64_t copies = most(1, across->taps) * most(1, least(down->taps, down->step));
    const int64_t places = most(1, down->taps * across->taps), room = CONV_BANK / copies;
    if (places > CONV_TAPS) return 0;
    q->chunk = least(q->in, CONV_TAPS / places);
    q->band[0] = 1;
    q->band[1] = across->count;
    if (q->band[1] > room / (1 + more)) {
        q->band[1] = room / (1 + more) / 64 * 64;
        q->chunk = 1;
    } else {
        for (;; q->chunk = (q->chunk + 1) / 2) {
            q->band[0] = room / (q->chunk * q->band[1]) - more;
            if (q->chunk == 1 || q->band[0] >= least(down->count, 2 * more + 1)) break;
        }
        q->band[0] = up(down->count, up(down->count, q->band[0]));
    }
    q->chunk = up(q->in, up(q->in, q->chunk));
    return q->band[1] > 0;
}

/* ---- one side from the other ------------------------------------------------------------------------------------- */

typedef struct {
    const tae_kernels *kernel;
    const tae_windows *windows;
    conv_call whole;           /* all of it, for the first group and the first residues */
    int transposed;
    int64_t itemsize, images_of_task, residues[2], bands, strips;
} conv_job;

static const void *at(const void *array, int64_t i, int64_t itemsize) { return (const char *)array + i * itemsize; }

static void conv_task(void *context, int64_t task) {
    const conv_job *job = context;
    const tae_windows *s = job->windows;
    const int64_t size = job->itemsize;
    conv_call q = job->whole;
    q.at[1] = task % job->strips * q.band[1], task /= job->strips;
    q.at[0] = task % job->bands * q.band[0], task /= job->bands;
    for (int i = 2; i-- > 0; task /= job->residues[i])
        if (job->transposed) q.axis[i] = scattering(s, i, task % job->residues[i]);
    const int64_t group = task % s->groups, image = task / s->groups * job->images_of_task;
    q.images = least(s->images - image, job->images_of_task);
    q.x = at(q.x, image * q.x_image + group * q.in * q.x_channel, size);
    q.y = (void *)at(q.y, image * q.y_image + group * q.out * q.y_channel, size);
    q.w = (void *)at(q.w, group * (s->small[0] / s->groups) * (job->transposed ? q.w_in : q.w_out), size);
    if (q.bias) q.bias = at(q.bias, group * q.out, size);
    const fp_mode mode = enter();
    job->kernel->conv(&q, tae_scratch());
    leave(mode);
}

/* The call for x -> y of one group, where y are the places of small, or, transposed, those of big. */
static conv_call sides(const tae_windows *s, int transposed, const void *x, const void *w, const void *y) {
    const int64_t *from = transposed ? s->small : s->big, *to = transposed ? s->big : s->small;
    const int64_t places = s->kernel[0] * s->kernel[1], row = places * (s->big[0] / s->groups);
    conv_call q = {
        .images = s->images, .in = from[0] / s->groups, .out = to[0] / s->groups,
        .x = x, .x_image = from[0] * from[1] * from[2], .x_channel = from[1] * from[2],
        .y = (void *)y, .y_image = to[0] * to[1] * to[2], .y_channel = to[1] * to[2], .y_row = to[2],
        .w = (void *)w, .w_in = transposed ? row : places, .w_out = transposed ? places : row, .w_row = s->kernel[1],
        .activation = -1,
    };
    for (int i = 0; i < 2; i++) q.axis[i] = transposed ? scattering(s, i, 0) : gathering(s, i);
    return q;
}

static double products(const tae_windows *s) {
    return (double)s->images * (double)(s->small[0] * s->small[1] * s->small[2])
         * (double)(s->kernel[0] * s->kernel[1] * (s->big[0] / s->groups));
}

/* The job for these sizes, without arrays. */
static int conv_sized(int dtype, const tae_windows *s, int transposed, conv_job *job) {
    MINE(is_dtype(dtype));
    NEED(is_sound(dtype, s));
    *job = (conv_job){.kernel = tae_kernels_of(dtype), .windows = s, .whole = sides(s, transposed, NULL, NULL, NULL),
                      .transposed = transposed, .itemsize = dtype ? sizeof(double) : sizeof(float)};
    conv_call *q = &job->whole;
    for (int i = 0; i < 2; i++) {
        job->residues[i] = transposed ? s->stride[i] : 1;
        if (transposed) q->axis[i].count = up(s->big[1 + i], s->stride[i]);  /* no residue has more */
        MINE(job->residues[i] <= CONV_TAPS);
    }
    MINE(cut(q));
    return TAE_DONE;
}

static int conv(int dtype, const tae_windows *s, int transposed, const void *x, const void *w, const void *bias,
                int activation, double param, void *y) {
    conv_job job;
    const int status = conv_sized(dtype, s, transposed, &job);
    if (status) return status;
    MINE(activation == -1 || is_unary(activation));
    if (s->images == 0) return TAE_DONE;
    NEED(x && w && y);
    conv_call *q = &job.whole;
    q->x = x, q->w = (void *)w, q->y = y, q->bias = bias, q->activation = activation, q->param = param;
    job.bands = up(q->axis[0].count, q->band[0]);
    job.strips = up(q->axis[1].count, q->band[1]);
    const int64_t parts = s->groups * job.residues[0] * job.residues[1] * job.bands * job.strips;
    job.images_of_task = up(s->images, most(1, CONV_TASKS / parts));
    tae_parallel(up(s->images, job.images_of_task) * parts, products(s) / CONV_SPEED, conv_task, &job);
    return TAE_DONE;
}

int tae_conv2d(int dtype, const tae_windows *s, const void *big, const void *weight, const void *bias, int activation,
               double param, void *small) {
    return conv(dtype, s, 0, big, weight, bias, activation, param, small);
}

int tae_conv2d_transposed(int dtype, const tae_windows *s, const void *small, const void *weight, const void *bias,
                          int activation, double param, void *big) {
    return conv(dtype, s, 1, small, weight, bias, activation, param, big);
}

/* ---- the weight's gradient --------------------------------------------------------------------------------------- */

typedef struct {
    const tae_kernels *kernel;
    const tae_windows *windows;
    conv_call whole;
    int transposed;
    int64_t itemsize, images_of_task, chunks, size;
} weight_job;

static void weight_task(void *context, int64_t task) {
    const weight_job *job = context;
    const tae_windows *s = job->windows;
    conv_call q = job->whole;
    const int64_t channel = task % job->chunks * q.chunk, group = task / job->chunks % s->groups;
    const int64_t block = task / job->chunks / s->groups, image = block * job->images_of_task;
    q.images = least(s->images - image, job->images_of_task);
    q.x = at(q.x, image * q.x_image + (group * q.in + channel) * q.x_channel, job->itemsize);
    q.y = (void *)at(q.y, image * q.y_image + group * q.out * q.y_channel, job->itemsize);
    q.w = (void *)at(q.w, block * job->size + channel * q.w_in
                          + group * (s->small[0] / s->groups) * (job->transposed ? q.w_in : q.w_out), job->itemsize);
    q.in = least(q.in - channel, q.chunk);
    const fp_mode mode = enter();
    job->kernel->conv_weight(&q, tae_scratch());
    leave(mode);
}

static int64_t weight_size(const tae_windows *s) {
    return s->small[0] * (s->big[0] / s->groups) * s->kernel[0] * s->kernel[1];
}

static int64_t images_of_block(const tae_windows *s) {
    return up(s->images, most(1, least(WEIGHT_BLOCKS, WEIGHT_ROOM / weight_size(s))));
}

int64_t tae_conv2d_weight_room(const tae_windows *s) {
    if (!is_sound(1, s)) return -1;
    if (s->images == 0) return 0;
    const int64_t blocks = up(s->images, images_of_block(s));
    return blocks == 1 ? 0 : blocks * weight_size(s);
}

/* Without a stride, the smaller side goes into the bank. */
static int fills_with_small(const tae_windows *s) {
    return s->stride[0] == 1 && s->stride[1] == 1
        && s->small[0] * s->big[1] * s->big[2] < s->big[0] * s->small[1] * s->small[2];
}

int tae_conv2d_weight(int dtype, const tae_windows *s, const void *big, const void *small, void *weight, void *room) {
    MINE(is_dtype(dtype));
    NEED(is_sound(dtype, s) && weight);
    const int64_t size = weight_size(s), itemsize = dtype ? sizeof(double) : sizeof(float);
    if (s->images == 0) {
        memset(weight, 0, (size_t)(size * itemsize));
        return TAE_DONE;
    }
    const int64_t images = images_of_block(s), blocks = up(s->images, images);
    NEED(big && small && (blocks == 1 || room));
    const int transposed = fills_with_small(s);
    void *sums = blocks == 1 ? weight : room;
    weight_job job = {.kernel = tae_kernels_of(dtype), .windows = s, .transposed = transposed, .itemsize = itemsize,
                      .images_of_task = images, .size = size,
                      .whole = transposed ? sides(s, 1, small, sums, big) : sides(s, 0, big, sums, small)};
    MINE(cut(&job.whole));
    job.chunks = up(job.whole.in, job.whole.chunk);
    tae_parallel(blocks * s->groups * job.chunks, products(s) / CONV_SPEED, weight_task, &job);
    if (blocks > 1) {
        const fp_mode mode = enter();
        job.kernel->sum(1, blocks, size, room, weight);
        leave(mode);
    }
    return TAE_DONE;
}

/* ---- pooling and upsampling -------------------------------------------------------------------------------------- */

/* Elements of the big side in a nanosecond. */
#define POOL_SPEED 2

typedef struct {
    const tae_kernels *kernel;
    pool_call whole;
    int way;
    int64_t itemsize, planes_of_task;
} pool_job;
enum { POOL, SPREAD, MAX_POOL_BACKWARD };

static void pool_task(void *context, int64_t task) {
    const pool_job *job = context;
    const tae_windows *s = job->whole.windows;
    const int64_t plane = task * job->planes_of_task, big = s->big[1] * s->big[2], small = s->small[1] * s->small[2];
    pool_call q = job->whole;
    q.planes = least(q.planes - plane, job->planes_of_task);
    q.x = at(q.x, plane * (job->way == POOL ? big : small), job->itemsize);
    if (q.y) q.y = (void *)at(q.y, plane * (job->way == POOL ? small : big), job->itemsize);
    if (q.winner) q.winner += plane * small;
    const fp_mode mode = enter();
    if (job->way == POOL) job->kernel->pool(&q, tae_scratch());
    else if (job->way == SPREAD) job->kernel->spread(&q);
    else job->kernel->max_pool_backward(&q);
    leave(mode);
}

static int pool_sized(int dtype, int way, const tae_windows *s) {
    MINE(is_dtype(dtype));
    NEED(is_sound(dtype, s) && s->big[0] == s->small[0]);
    MINE(s->kernel[0] <= CONV_TAPS && s->kernel[1] <= CONV_TAPS && s->kernel[0] * s->kernel[1] <= CONV_TAPS);
    const int64_t reads = (s->small[2] - 1) * s->stride[1] + (s->kernel[1] - 1) * s->dilation[1] + 1;
    MINE(reads <= CONV_BANK / s->kernel[0] || way != POOL);  /* what a padded copy of the rows of a window takes */
    return TAE_DONE;
}

static int pool(int dtype, int way, pool_call q) {
    const tae_windows *s = q.windows;
    const int status = pool_sized(dtype, way, s);
    if (status) return status;
    q.planes = s->images * s->big[0];
    if (q.planes == 0) return TAE_DONE;
    NEED(q.x && (q.y || (way == POOL && q.winner)) && (q.winner || way != MAX_POOL_BACKWARD));
    pool_job job = {.kernel = tae_kernels_of(dtype), .whole = q, .way = way,
                    .itemsize = dtype ? sizeof(double) : sizeof(float),
                    .planes_of_task = up(q.planes, CONV_TASKS)};
    const double cost = (double)q.planes * (double)(s->big[1] * s->big[2]) / POOL_SPEED;
    tae_parallel(up(q.planes, job.planes_of_task), cost, pool_task, &job);
    return TAE_DONE;
}

int tae_max_pool(int dtype, const tae_windows *windows, const void *big, void *small, unsigned char *winner) {
    return pool(dtype, POOL, (pool_call){.windows = windows, .x = big, .y = small, .winner = winner, .largest = 1});
}

/* Whether every winner is a place of the kernel. */
static int are_places(const tae_windows *s, const unsigned char *winner) {
    const int64_t n = s->images * s->small[0] * s->small[1] * s->small[2], places = s->kernel[0] * s->kernel[1];
    int outside = 0;
    for (int64_t i = 0; i < n; i++) outside |= winner[i] >= places;
    return !outside;
}

int tae_max_pool_backward(int dtype, const tae_windows *windows, const void *small, const unsigned char *winner,
                          void *big) {
    NEED(is_sound(1, windows) && (windows->images == 0 || (winner && are_places(windows, winner))));
    return pool(dtype, MAX_POOL_BACKWARD,
                (pool_call){.windows = windows, .x = small, .y = big, .winner = (unsigned char *)winner});
}

int tae_sum_pool(int dtype, const tae_windows *windows, const void *big, double divisor, void *small) {
    return pool(dtype, POOL, (pool_call){.windows = windows, .x = big, .y = small, .divisor = divisor});
}

int tae_spread(int dtype, const tae_windows *windows, const void *small, double divisor, void *big) {
    return pool(dtype, SPREAD, (pool_call){.windows = windows, .x = small, .y = big, .divisor = divisor});
}

/* ---- what there is ----------------------------------------------------------------------------------------------- */

int tae_windows_fit(int kind, int dtype, const tae_windows *s) {
    conv_job job;
    conv_call call;
    switch (kind) {
    case TAE_CONV2D: return conv_sized(dtype, s, 0, &job);
    case TAE_CONV2D_TRANSPOSED: return conv_sized(dtype, s, 1, &job);
    case TAE_CONV2D_WEIGHT:
        MINE(is_dtype(dtype));
        NEED(is_sound(dtype, s));
        call = sides(s, fills_with_small(s), NULL, NULL, NULL);
        MINE(cut(&call));
        return TAE_DONE;
    case TAE_MAX_POOL: case TAE_MAX_POOL_BACKWARD: case TAE_SUM_POOL: return pool_sized(dtype, POOL, s);
    case TAE_SPREAD: return pool_sized(dtype, SPREAD, s);
    }
    return TAE_NOT_MINE;
}
