/* kernels_check.c: every public function of tinyae.h without Python, so that sanitizers and emulators can watch it.
 *
 *     cc -Icsrc tests/kernels_check.c csrc/?*.c -lm -pthread -o check && ./check      exit status 0: all well
 *
 * A check is one C function of a size n, and a row of `checks`.  It takes its buffers from `in`, `inout` and `out`, calls
 * the function, and compares each result with the formula in double (`near`).  What is asked of every buffer is asked
 * here, once: it stands at an address that is a multiple of its element and of nothing more, NaN stands on both sides,
 * an input is not changed, and nothing is written beside an output, which holds NaN until it is written.  Under
 * AddressSanitizer what stands beside it may not even be looked at.
 *
 * Every check runs on every instruction set that the CPU has, in both dtypes, for n = 0 .. 33 and some primes; then on
 * four threads at once, while the number of threads changes.  Compiled with -DWORK, and the library with
 * -fsanitize-coverage=trace-pc, it counts the basic blocks that the library runs through, and asks that twice the size
 * is twice the work (2^power: see `checks`).  How exact results are is not asked here: the Python tests do. */
#define _DEFAULT_SOURCE  /* usleep */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tinyae.h"

#if defined(__SANITIZE_ADDRESS__)
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED 1
#endif
#endif
#ifdef WATCHED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p))
#endif

static int failures;  /* of all threads */

/* ---- buffers and numbers ----------------------------------------------------------------------------------------- */

enum { F32, F64, INT64, BYTES };  /* the dtypes of tinyae.h, then the others */
static const size_t sizes_of[] = {4, 8, 8, 1};
enum { PAD = 192, GUARD = 0xff };  /* all bits set are a NaN in either dtype, and the index -1 */

typedef struct {
    unsigned char *memory, *data, *before;
    size_t shift, bytes;
} buffer;

/* What a check has at hand: one per thread. */
static _Thread_local buffer buffers[20];
static _Thread_local int used, dtype, wrong;
static _Thread_local const char *name;
static _Thread_local int64_t size;
static _Thread_local uint32_t state;

static void complain(const char *what) {
    if (!wrong++) printf("wrong: %s, %s, %s, n = %d: %s\n", name, tae_isa(), dtype ? "f64" : "f32", (int)size, what);
    __atomic_add_fetch(&failures, 1, __ATOMIC_SEQ_CST);
}

static double uniform(double low, double high) {
    state = state * 1664525u + 1013904223u;
    return low + (high - low) * ((double)(state >> 8) / 16777216.0);
}

static double at(const void *p, int64_t i) { return dtype ? ((const double *)p)[i] : (double)((const float *)p)[i]; }

static void put(void *p, int64_t i, double x) {
    if (dtype) ((double *)p)[i] = x;
    else ((float *)p)[i] = (float)x;
}

/* n elements of a kind, guarded. */
static void *take(int kind, int64_t n) {
    buffer *b = &buffers[used++];
    b->shift = PAD + (size_t)(1 + used % 3) * sizes_of[kind];
    b->bytes = (size_t)n * sizes_of[kind];
    b->before = NULL;
    b->memory = malloc(b->shift + b->bytes + PAD);
    b->data = b->memory + b->shift;
    memset(b->memory, GUARD, b->shift + b->bytes + PAD);
    ASAN_POISON_MEMORY_REGION(b->memory, b->shift);
    ASAN_POISON_MEMORY_REGION(b->data + b->bytes, PAD);
    return b->data;
}

static void *out(int64_t n) { return take(dtype, n); }

static void *inout(int64_t n, double low, double high) {
    void *p = take(dtype, n);
    for (int64_t i = 0; i < n; i++) put(p, i, uniform(low, high));
    return p;
}

/* From now on this buffer is an input: `finish` asks that it holds what it holds now. */
static void *fixed(void *p) {
    buffer *b = &buffers[used - 1];
    while (b->data != p) b--;
    b->before = malloc(b->bytes + 1);
    memcpy(b->before, p, b->bytes);
    return p;
}

static const void *in(int64_t n, double low, double high) { return fixed(inout(n, low, high)); }

static const int64_t *labels(int64_t n, int64_t below) {
    int64_t *p = take(INT64, n);
    for (int64_t i = 0; i < n; i++) p[i] = (int64_t)uniform(0, (double)below);
    return fixed(p);
}

/* What an inout held when it was made, for the formula. */
static double *was(const void *p, int64_t n) {
    double *copy = take(F64, n);
    for (int64_t i = 0; i < n; i++) copy[i] = at(p, i);
    return copy;
}

static double *zeros(int64_t n) {
    return memset(take(F64, n), 0, (size_t)n * sizeof(double));
}

static void finish(void) {
    while (used) {
        buffer *b = &buffers[--used];
        ASAN_UNPOISON_MEMORY_REGION(b->memory, b->shift + b->bytes + PAD);
        for (size_t i = 0; i < b->shift; i++)
            if (b->memory[i] != GUARD) complain("written before a buffer");
        for (size_t i = 0; i < PAD; i++)
            if (b->data[b->bytes + i] != GUARD) complain("written beyond a buffer");
        if (b->before && memcmp(b->before, b->data, b->bytes)) complain("an input was changed");
        free(b->memory);
        free(b->before);
    }
}

/* got[i] is x, to a part of x or of `scale`, which is about what was added up to it. */
static void near(const void *got, int64_t i, double x, double scale) {
    const double y = at(got, i);
    if (!(fabs(y - x) <= (dtype ? 1e-12 : 1e-5) * (fabs(x) + scale))) complain("not what the formula says");
}

static void done(int status) {
    if (status != TAE_DONE) complain("refused");
}

/* ---- the checks -------------------------------------------------------------------------------------------------- */

static void check_library(int64_t n) {
    if (!tae_isa_supported(tae_isa()) || tae_isa_supported("none") || tae_use_isa("none") != TAE_NOT_MINE)
        complain("what it says of instruction sets");
    if (!tae_compiler()[0] || tae_threads() < 1 || tae_set_threads((int)-n) != TAE_BAD_ARGUMENT)
        complain("what it says of itself");
    for (int i = 0; i < tae_chain_ops(); i++)
        if (!tae_chain_name(i)) complain("a chain's op without a name");
    for (int i = 0; tae_rule_name(i); i++)
        if (tae_rule_slots(i) < 0 || tae_rule_numbers(i) < 0) complain("a rule without slots and numbers");
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double density(double x) { return exp(-x * x / 2) * 0.3989422804014327; }

/* y and dy/dx of each unary op, for x between low and high. */
#define UNARIES                                                                                                        \
    UNARY(sigmoid, -3, 3, sigmoid(x), sigmoid(x) * sigmoid(-x))                                                        \
    UNARY(tanh, -3, 3, tanh(x), 1 / (cosh(x) * cosh(x)))                                                               \
    UNARY(relu, -3, 3, fmax(x, 0), x > 0)                                                                              \
    UNARY(leaky_relu, -3, 3, x > 0 ? x : p * x, x > 0 ? 1 : p)                                                         \
    UNARY(elu, -3, 3, x > 0 ? x : p * expm1(x), x > 0 ? 1 : p * exp(x))                                                \
    UNARY(gelu, -3, 3, x * erfc(-x * M_SQRT1_2) / 2, erfc(-x * M_SQRT1_2) / 2 + x * density(x))                        \
    UNARY(silu, -3, 3, x * sigmoid(x), sigmoid(x) * (1 + x * sigmoid(-x)))                                             \
    UNARY(softplus, -3, 3, log1p(exp(x)), sigmoid(x))                                                                  \
    UNARY(exp, -3, 3, exp(x), exp(x))                                                                                  \
    UNARY(expm1, -3, 3, expm1(x), exp(x))                                                                              \
    UNARY(log, 0.1, 3, log(x), 1 / x)                                                                                  \
    UNARY(log1p, -0.5, 3, log1p(x), 1 / (1 + x))                                                                       \
    UNARY(erf, -3, 3, erf(x), M_2_SQRTPI * exp(-x * x))                                                                \
    UNARY(erfc, -3, 3, erfc(x), -M_2_SQRTPI * exp(-x * x))                                                             \
    UNARY(square, -3, 3, x * x, 2 * x)                                                                                 \
    UNARY(sqrt, 0.1, 3, sqrt(x), 0.5 / sqrt(x))                                                                        \
    UNARY(rsqrt, 0.1, 3, 1 / sqrt(x), -0.5 / (x * sqrt(x)))

#define UNARY(name, low, high, y, slope)                         \
    static double f_##name(double x, double p) {                 \
        (void)p;                                                 \
        return y;                                                \
    }                                                            \
    static double slope_##name(double x, double p) {             \
        (void)p;                                                 \
        return slope;                                            \
    }
UNARIES
#undef UNARY
#define UNARY(name, low, high, y, slope) {#name, low, high, f_##name, slope_##name},
static const struct {
    const char *name;
    double low, high, (*f)(double, double), (*slope)(double, double);
} unaries[] = {UNARIES};
#undef UNARY

static void check_unary(int64_t n) {
    for (int op = 0; tae_unary_name(op); op++) {
        size_t row = 0;
        while (row < sizeof unaries / sizeof *unaries && strcmp(unaries[row].name, tae_unary_name(op))) row++;
        if (row == sizeof unaries / sizeof *unaries) {
            complain("a unary op that is not in UNARIES");
            continue;
        }
        const double p = 0.3;
        const void *x = in(n, unaries[row].low, unaries[row].high), *g = in(n, -1, 1), *one = in(1, -1, 1);
        void *y = out(n), *dx = out(n), *same = out(n);
        done(tae_unary(op, dtype, n, x, y, p));
        const void *kept = tae_unary_keeps_y(op) ? y : x;
        done(tae_unary_backward(op, dtype, n, g, 1, kept, dx, p));
        done(tae_unary_backward(op, dtype, n, one, 0, kept, same, p));
        for (int64_t i = 0; i < n; i++) {
            const double slope = unaries[row].slope(at(x, i), p);
            near(y, i, unaries[row].f(at(x, i), p), 1);
            near(dx, i, at(g, i) * slope, 1);
            near(same, i, at(one, 0) * slope, 1);
        }
        finish();
    }
}

static void check_binary(int64_t n) {
    for (int op = 0; tae_binary_name(op); op++)
        for (int steps = 0; steps < 4; steps++) {
            const int a_step = steps & 1, b_step = steps >> 1;
            const void *a = in(a_step ? n : 1, -2, 2), *b = in(b_step ? n : 1, 1, 2);
            void *y = out(n);
            done(tae_binary(op, dtype, n, a, a_step, b, b_step, y));
            for (int64_t i = 0; i < n; i++) {
                const double u = at(a, i * a_step), v = at(b, i * b_step), right[] = {u + v, u - v, u * v, u / v};
                near(y, i, right[op], 0.1);
            }
            finish();
        }
}

/* One product, of any strides. */
static void product(int64_t m, int64_t n, int64_t k, int way) {
    const int64_t gap = way % 3, c_rs = n + gap;
    const int64_t a_rs = way & 1 ? 1 : k, a_cs = way & 1 ? m : 1, b_rs = way & 2 ? 1 : n, b_cs = way & 2 ? k : 1;
    const double alpha = way & 4 ? -0.5 : 1, beta = way & 4 ? 2 : 0;
    const int op = way & 4 ? -1 : 2;
    const void *a = in(m * k, -1, 1), *b = in(k * n, -1, 1), *bias = way & 1 ? in(n, -1, 1) : NULL;
    void *c = beta != 0 ? inout(m * c_rs, -1, 1) : out(m * c_rs);
    const double *before = was(c, m * c_rs);
    done(tae_gemm(dtype, m, n, k, a, a_rs, a_cs, b, b_rs, b_cs, c, c_rs, bias, op, 0.3, alpha, beta));
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t p = 0; p < k; p++) sum += at(a, i * a_rs + p * a_cs) * at(b, p * b_rs + j * b_cs);
            sum = alpha * sum + (beta != 0 ? beta * before[i * c_rs + j] : 0) + (bias ? at(bias, j) : 0);
            near(c, i * c_rs + j, op < 0 ? sum : fmax(sum, 0), 1 + (double)k / 4);
        }
        for (int64_t j = n; j < c_rs; j++)
            if (!(at(c, i * c_rs + j) == before[i * c_rs + j] || (beta == 0 && isnan(at(c, i * c_rs + j)))))
                complain("written between the rows of C");
    }
    finish();
}

static void check_gemm(int64_t n) {
    for (int way = 0; way < 8; way++) product(n, n, n, way);
}

static void check_gemm_edges(int64_t n) {
    for (int way = 0; way < 8; way++) {
        product(1, n, 7, way);
        product(n, 3, 5, way);
        product(5, 17, n, way);
    }
}

static void check_gemm_stack(int64_t n) {
    const int64_t sizes[] = {2, 3}, a_steps[] = {5 * n, 0}, b_steps[] = {0, 4 * n};  /* (2, 1, 5, n) @ (3, n, 4) */
    const void *a = in(2 * 5 * n, -1, 1), *b = in(3 * 4 * n, -1, 1);
    void *c = out(2 * 3 * 5 * 4);
    done(tae_gemm_stack(dtype, 2, sizes, a_steps, b_steps, 5, 4, n, a, n, 1, b, 4, 1, c, 2, 0));
    for (int64_t i = 0; i < 2 * 3 * 5 * 4; i++) {
        const int64_t column = i % 4, row = i / 4 % 5, s = i / 20 % 3, r = i / 60;
        double sum = 0;
        for (int64_t p = 0; p < n; p++) sum += at(a, (r * 5 + row) * n + p) * at(b, (s * n + p) * 4 + column);
        near(c, i, 2 * sum, 1 + (double)n / 2);
    }
    finish();
}

/* By pieces, where the processor can; else it must say so and leave C alone. */
static void check_gemm_split(int64_t n) {
    static const double error[] = {0, 1e-2, 2e-5, 1e-6};  /* of the sum of |a b|, each of which is at most 1 */
    for (int pieces = 1; pieces <= 3 && !dtype; pieces++) {
        const int64_t sizes[] = {2}, a_steps[] = {n * n}, b_steps[] = {0};
        const void *a = in(2 * n * n, -1, 1), *b = in(n * 40, -1, 1);
        void *c = inout(2 * n * 40, -1, 1);
        const double *before = was(c, 2 * n * 40);
        const int status = tae_gemm_split(pieces, 1, sizes, a_steps, b_steps, n, 40, n, a, 1, n, b, 1, n, c, 2, 1);
        for (int64_t i = 0; i < 2 * n * 40; i++) {
            const int64_t column = i % 40, row = i / 40 % n, s = i / 40 / n;
            double sum = before[i];
            for (int64_t p = 0; p < n && status == TAE_DONE; p++)
                sum += 2 * at(a, s * n * n + row + p * n) * at(b, p + column * n);
            if (!(fabs(at(c, i) - sum) <= (1 + 2 * (double)n) * error[pieces])) complain("a product by pieces");
        }
        if (status != TAE_DONE && status != TAE_NOT_MINE) complain("refused");
        finish();
    }
}

enum { WINDOWS = 9 };

/* Two sides, in each of which something else is of length n. */
static tae_windows windows_of(int way, int64_t n) {
    const int64_t m = n > 0 ? n : 1, few = n > 0 ? 2 : 0;  /* only images may be none */
    const tae_windows of[WINDOWS] = {
        {few, 1, {3, 4, m}, {5, 4, m}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},          /* as wide as before */
        {n, 2, {4, 5, 7}, {6, 4, 5}, {3, 2}, {2, 2}, {1, 0}, {1, 3}},            /* so far beyond that nothing is met */
        {few, 1, {m, 3, 3}, {2, 2, 2}, {2, 2}, {1, 1}, {0, 0}, {1, 1}},
        {few, 1, {2, 4, 5}, {m, 2, 2}, {2, 3}, {2, 3}, {-1, 1}, {1, 1}},         /* begins inside */
        {few, 1, {1, m, 3}, {2, m / 3 + 1, 3}, {5, 1}, {3, 1}, {4, 0}, {2, 1}},
        {few, 1, {1, 41, m}, {2, 2, m}, {3, 3}, {1, 1}, {0, 1}, {40, 1}},        /* too wide to be done in one piece */
        {few, 1, {2, 7, m}, {3, 3, m / 4 + 1}, {1, 2}, {3, 4}, {0, 0}, {1, 1}},  /* with gaps between the windows */
        {few, 1, {1, 2, 2 * m}, {1, 2, m}, {1, 2}, {1, 2}, {0, 0}, {1, 1}},      /* tiles */
        {few, 3, {3, 3 * m, 9}, {3, m, 3}, {3, 3}, {3, 3}, {0, 0}, {1, 1}},
    };
    return of[way];
}

static int64_t elements(const tae_windows *s, const int64_t *side) { return s->images * side[0] * side[1] * side[2]; }

static int64_t weights(const tae_windows *s) {
    return s->small[0] * (s->big[0] / s->groups) * s->kernel[0] * s->kernel[1];
}

/* Whether place (i, j) of small meets one of big for place (k, l) of the kernel, and which of its channel's. */
static int meets_at(const tae_windows *s, int64_t i, int64_t j, int64_t k, int64_t l, int64_t *place) {
    const int64_t row = i * s->stride[0] + k * s->dilation[0] - s->before[0];
    const int64_t column = j * s->stride[1] + l * s->dilation[1] - s->before[1];
    *place = row * s->big[2] + column;
    return row >= 0 && row < s->big[1] && column >= 0 && column < s->big[2];
}

/* Adds to one of the three, wherever they meet, the product of the other two. */
enum { SMALL, BIG, WEIGHT };
static void relate(const tae_windows *s, int to, double *small, double *big, double *weight) {
    const int64_t in_group = s->big[0] / s->groups, out_group = s->small[0] / s->groups;
    const int64_t area = s->big[1] * s->big[2];
    for (int64_t image = 0; image < s->images; image++)
        for (int64_t o = 0; o < s->small[0]; o++)
            for (int64_t i = 0; i < s->small[1]; i++)
                for (int64_t j = 0; j < s->small[2]; j++) {
                    double *a = small + ((image * s->small[0] + o) * s->small[1] + i) * s->small[2] + j;
                    double *w = weight + o * in_group * s->kernel[0] * s->kernel[1];
                    for (int64_t c = 0; c < in_group; c++)
                        for (int64_t k = 0; k < s->kernel[0]; k++)
                            for (int64_t l = 0; l < s->kernel[1]; l++, w++) {
                                int64_t place;
                                if (!meets_at(s, i, j, k, l, &place)) continue;
                                double *b = big + (image * s->big[0] + o / out_group * in_group + c) * area + place;
                                if (to == SMALL) *a += *b * *w;
                                else if (to == BIG) *b += *a * *w;
                                else *w += *a * *b;
                            }
                }
}

static void check_conv2d(int64_t n) {
    const int relu = 2;
    for (int way = 0; way < WINDOWS; way++) {
        const tae_windows s = windows_of(way, n);
        const int64_t bigs = elements(&s, s.big), smalls = elements(&s, s.small), w = weights(&s);
        const int activation = way & 1 ? relu : -1, biased = way % 3 != 1;
        const void *big = in(bigs, -1, 1), *small = in(smalls, -1, 1), *weight = in(w, -1, 1);
        const void *to_small = biased ? in(s.small[0], -1, 1) : NULL, *to_big = biased ? in(s.big[0], -1, 1) : NULL;
        void *y = out(smalls), *x = out(bigs), *dw = out(w);
        if (tae_windows_fit(TAE_CONV2D_WEIGHT, dtype, &s) != TAE_DONE) complain("sizes do not fit");
        const int64_t room = tae_conv2d_weight_room(&s);
        for (int kind = TAE_CONV2D; kind <= TAE_CONV2D_WEIGHT; kind++) done(tae_windows_fit(kind, dtype, &s));
        done(tae_conv2d(dtype, &s, big, weight, to_small, activation, 0.3, y));
        done(tae_conv2d_transposed(dtype, &s, small, weight, to_big, activation, 0.3, x));
        done(tae_conv2d_weight(dtype, &s, big, small, dw, room ? out(room) : NULL));
        double *a = was(small, smalls), *b = was(big, bigs), *c = was(weight, w);
        double *right_y = zeros(smalls), *right_x = zeros(bigs), *right_dw = zeros(w);
        relate(&s, SMALL, right_y, b, c);
        relate(&s, BIG, a, right_x, c);
        relate(&s, WEIGHT, a, b, right_dw);
        const double terms = (double)(s.kernel[0] * s.kernel[1]);
        for (int64_t i = 0; i < smalls; i++) {
            const int64_t channel = i / (s.small[1] * s.small[2]) % s.small[0];
            const double sum = right_y[i] + (to_small ? at(to_small, channel) : 0);
            near(y, i, activation < 0 ? sum : fmax(sum, 0), 1 + terms * (double)s.big[0] / 4);
        }
        for (int64_t i = 0; i < bigs; i++) {
            const int64_t channel = i / (s.big[1] * s.big[2]) % s.big[0];
            const double sum = right_x[i] + (to_big ? at(to_big, channel) : 0);
            near(x, i, activation < 0 ? sum : fmax(sum, 0), 1 + terms * (double)s.small[0] / 4);
        }
        for (int64_t i = 0; i < w; i++) near(dw, i, right_dw[i], 1 + (double)(smalls / s.small[0]) / 4);
        finish();
    }
}

/* The windows, for as many channels on either side; where rows are of length n, a kernel is one of them, for what
 * is padded must have room. */
static tae_windows pools_of(int way, int64_t n) {
    tae_windows s = windows_of(way, n);
    if (way == 0 || way == 5) s.kernel[0] = 1;
    s.groups = s.small[0] = s.big[0];
    return s;
}

static void check_pools(int64_t n) {
    const double divisor = 3;
    for (int way = 0; way < WINDOWS; way++) {
        const tae_windows s = pools_of(way, n);
        const int64_t bigs = elements(&s, s.big), smalls = elements(&s, s.small);
        const void *big = in(bigs, -1, 1), *small = in(smalls, -1, 1);
        void *sum = out(smalls), *wide = out(bigs);
        for (int kind = TAE_MAX_POOL; kind <= TAE_SPREAD; kind++) done(tae_windows_fit(kind, dtype, &s));
        done(tae_sum_pool(dtype, &s, big, divisor, sum));
        done(tae_spread(dtype, &s, small, divisor, wide));
        double *a = was(small, smalls), *b = was(big, bigs), *one = zeros(weights(&s));
        double *right_sum = zeros(smalls), *right_wide = zeros(bigs);
        for (int64_t i = 0; i < weights(&s); i++) one[i] = 1 / divisor;
        relate(&s, SMALL, right_sum, b, one);
        relate(&s, BIG, a, right_wide, one);
        for (int64_t i = 0; i < smalls; i++) near(sum, i, right_sum[i], 1);
        for (int64_t i = 0; i < bigs; i++) near(wide, i, right_wide[i], 1);
        finish();
    }
}

static void check_max_pool(int64_t n) {
    for (int way = 0; way < WINDOWS; way++) {
        const tae_windows s = pools_of(way, n);
        const int64_t bigs = elements(&s, s.big), smalls = elements(&s, s.small), area = s.big[1] * s.big[2];
        const void *big = in(bigs, -1, 1), *g = in(smalls, -1, 1);
        void *y = out(smalls), *alone = out(smalls), *dx = out(bigs);
        double *right = zeros(bigs);
        unsigned char *same = take(BYTES, smalls), *winner = take(BYTES, smalls);
        done(tae_max_pool(dtype, &s, big, y, winner));
        fixed(winner);
        done(tae_max_pool(dtype, &s, big, alone, NULL));
        done(tae_max_pool(dtype, &s, big, NULL, same));
        done(tae_max_pool_backward(dtype, &s, g, winner, dx));
        for (int64_t x = 0; x < smalls; x++) {
            const int64_t i = x / s.small[2] % s.small[1], j = x % s.small[2];
            const int64_t plane = x / (s.small[1] * s.small[2]) * area;
            double most = -INFINITY;
            int64_t won = 0, where = -1, place;
            for (int64_t k = 0; k < s.kernel[0] * s.kernel[1]; k++)
                if (meets_at(&s, i, j, k / s.kernel[1], k % s.kernel[1], &place) && at(big, plane + place) > most)
                    most = at(big, plane + place), won = k, where = plane + place;
            if (at(y, x) != most || at(alone, x) != most) complain("not the largest");
            if (winner[x] != won || same[x] != won) complain("not the place of the largest");
            if (where >= 0) right[where] += at(g, x);
        }
        for (int64_t i = 0; i < bigs; i++) near(dx, i, right[i], 1);
        finish();
    }
}

static void reduce(int64_t outer, int64_t n, int64_t inner) {
    const void *x = in(outer * n * inner, -1, 1);
    void *sum = out(outer * inner), *least = out(outer * inner), *most = out(outer * inner);
    int64_t *place = take(INT64, outer * inner);
    done(tae_sum(dtype, outer, n, inner, x, sum));
    if (n > 0) {
        done(tae_extreme(0, dtype, outer, n, inner, x, most));
        done(tae_extreme(1, dtype, outer, n, inner, x, least));
        done(tae_arg_extreme(0, dtype, outer, n, inner, x, place));
    }
    for (int64_t i = 0; i < outer; i++)
        for (int64_t j = 0; j < inner; j++) {
            double total = 0, low = INFINITY, high = -INFINITY;
            int64_t where = 0;
            for (int64_t p = 0; p < n; p++) {
                const double value = at(x, (i * n + p) * inner + j);
                total += value;
                low = fmin(low, value);
                if (value > high) high = value, where = p;
            }
            near(sum, i * inner + j, total, 1 + (double)n / 2);
            if (n == 0) continue;
            near(most, i * inner + j, high, 0);
            near(least, i * inner + j, low, 0);
            if (place[i * inner + j] != where) complain("the place of the largest");
        }
    finish();
}

static void check_reductions(int64_t n) {
    reduce(3, n, 1);
    reduce(2, n, 5);
    reduce(n, 3, 1);
    reduce(2, 3, n);
}

enum { ROWS = 3 };

static void check_softmax(int64_t n) {
    const void *x = in(ROWS * n, -3, 3), *g = in(ROWS * n, -1, 1);
    void *y = out(ROWS * n), *log_y = out(ROWS * n), *log_sum = out(ROWS), *dx = out(ROWS * n), *dlog = out(ROWS * n);
    done(tae_softmax(dtype, ROWS, n, x, y));
    done(tae_log_softmax(dtype, ROWS, n, x, log_y));
    done(tae_logsumexp(dtype, ROWS, n, x, log_sum));
    done(tae_softmax_backward(dtype, ROWS, n, g, y, dx));
    done(tae_log_softmax_backward(dtype, ROWS, n, g, log_y, dlog));
    for (int64_t r = 0; r < ROWS; r++) {
        double total = 0, sum_g = 0, sum_gy = 0;
        for (int64_t i = r * n; i < (r + 1) * n; i++) total += exp(at(x, i)), sum_g += at(g, i);
        for (int64_t i = r * n; i < (r + 1) * n; i++) sum_gy += at(g, i) * exp(at(x, i)) / total;
        if (n > 0) near(log_sum, r, log(total), 1);
        else if (at(log_sum, r) != -INFINITY) complain("log of an empty sum");
        for (int64_t i = r * n; i < (r + 1) * n; i++) {
            const double right = exp(at(x, i)) / total;
            near(y, i, right, 1);
            near(log_y, i, log(right), 1);
            near(dx, i, right * (at(g, i) - sum_gy), 1);
            near(dlog, i, at(g, i) - right * sum_g, 1);
        }
    }
    finish();
}

static void near_loss(double loss, double right, int64_t n) {
    if (!(fabs(loss - right) <= (dtype ? 1e-12 : 1e-5) * (fabs(right) + 1 + (double)n))) complain("the loss");
}

static void check_losses(int64_t n) {
    const double scale = 0.5;
    double bce, kl, entropy, right = 0;
    const void *x = in(n, -3, 3), *target = in(n, 0, 1);
    void *g = out(n), *g_mu = out(n), *g_logvar = out(n);
    done(tae_bce_with_logits(dtype, n, x, target, scale, &bce, g));
    for (int64_t i = 0; i < n; i++) {
        right += scale * (log1p(exp(at(x, i))) - at(x, i) * at(target, i));
        near(g, i, scale * (sigmoid(at(x, i)) - at(target, i)), 1);
    }
    near_loss(bce, right, n);
    done(tae_gaussian_kl(dtype, n, x, target, scale, &kl, g_mu, g_logvar));
    right = 0;
    for (int64_t i = 0; i < n; i++) {
        right += scale * (at(x, i) * at(x, i) + exp(at(target, i)) - 1 - at(target, i)) / 2;
        near(g_mu, i, scale * at(x, i), 1);
        near(g_logvar, i, scale * (exp(at(target, i)) - 1) / 2, 1);
    }
    near_loss(kl, right, 5 * n);
    if (n > 0) {
        const void *logits = in(ROWS * n, -3, 3);
        const int64_t *label = labels(ROWS, n);
        void *g_logits = out(ROWS * n);
        done(tae_cross_entropy(dtype, ROWS, n, logits, label, scale, &entropy, g_logits));
        right = 0;
        for (int64_t r = 0; r < ROWS; r++) {
            double total = 0;
            for (int64_t i = r * n; i < (r + 1) * n; i++) total += exp(at(logits, i));
            right += scale * (log(total) - at(logits, r * n + label[r]));
            for (int64_t i = 0; i < n; i++)
                near(g_logits, r * n + i, scale * (exp(at(logits, r * n + i)) / total - (i == label[r])), 1);
        }
        near_loss(entropy, right, 3);
    }
    finish();
}

static void check_gather(int64_t n) {
    enum { TABLE = 7 };
    const void *x = in(TABLE * n, -1, 1);
    const int64_t *index = labels(ROWS, TABLE);
    unsigned char *pixels = take(BYTES, TABLE * n);
    for (int64_t i = 0; i < TABLE * n; i++) pixels[i] = (unsigned char)uniform(0, 256);
    fixed(pixels);
    void *y = out(ROWS * n), *z = out(ROWS * n);
    done(tae_gather(dtype, dtype, ROWS, n, TABLE, x, index, 2, y));
    done(tae_gather(2, dtype, ROWS, n, TABLE, pixels, index, 2, z));
    for (int64_t i = 0; i < ROWS * n; i++) {
        near(y, i, 2 * at(x, index[i / n] * n + i % n), 0);
        near(z, i, 2 * pixels[index[i / n] * n + i % n], 0);
    }
    finish();
}

static void check_sgd(int64_t n) {
    for (int way = 0; way < 3; way++) {
        const double lr = 0.1, momentum = way ? 0.9 : 0, decay = 0.01;
        void *p = inout(n, -1, 1), *velocity = way ? inout(n, -1, 1) : NULL;
        const void *g = in(n, -1, 1);
        const double *p0 = was(p, n), *v0 = way ? was(velocity, n) : NULL;
        done(tae_sgd(dtype, n, p, g, velocity, lr, momentum, way == 2, decay));
        for (int64_t i = 0; i < n; i++) {
            const double slope = at(g, i) + decay * p0[i], v = slope + (way ? momentum * v0[i] : 0);
            if (way) near(velocity, i, v, 1);
            near(p, i, p0[i] - lr * (way == 2 ? slope + momentum * v : v), 1);
        }
        finish();
    }
}

static void check_adam(int64_t n) {
    for (int decoupled = 0; decoupled < 2; decoupled++) {
        const double lr = 0.1, beta1 = 0.9, beta2 = 0.99, eps = 1e-3, decay = 0.1;
        const int step = 3;
        void *p = inout(n, -1, 1), *m = inout(n, -1, 1), *v = inout(n, 0, 1);
        const void *g = in(n, -1, 1);
        const double *p0 = was(p, n), *m0 = was(m, n), *v0 = was(v, n);
        done(tae_adam(dtype, n, p, g, m, v, lr, beta1, beta2, eps, decay, decoupled, step));
        for (int64_t i = 0; i < n; i++) {
            const double slope = at(g, i) + (decoupled ? 0 : decay * p0[i]);
            const double m1 = beta1 * m0[i] + (1 - beta1) * slope, v1 = beta2 * v0[i] + (1 - beta2) * slope * slope;
            const double size = sqrt(v1 / (1 - pow(beta2, step))) + eps;
            near(m, i, m1, 1);
            near(v, i, v1, 1);
            near(p, i, p0[i] * (decoupled ? 1 - lr * decay : 1) - lr * m1 / (1 - pow(beta1, step)) / size, 1);
        }
        finish();
    }
}

static void check_rmsprop(int64_t n) {
    for (int way = 0; way < 4; way++) {
        const double lr = 0.1, alpha = 0.9, eps = 1e-3, momentum = way & 1 ? 0.8 : 0, decay = way == 1 ? 0 : 0.1;
        void *p = inout(n, -1, 1), *v = inout(n, 1, 2);
        void *m = way & 2 ? inout(n, -0.5, 0.5) : NULL, *velocity = way & 1 ? inout(n, -1, 1) : NULL;
        const void *g = in(n, -1, 1);
        const double *p0 = was(p, n), *v0 = was(v, n), *m0 = m ? was(m, n) : NULL;
        const double *velocity0 = velocity ? was(velocity, n) : NULL;
        done(tae_rmsprop(dtype, n, p, g, v, m, velocity, lr, alpha, eps, momentum, decay));
        for (int64_t i = 0; i < n; i++) {
            const double slope = at(g, i) + decay * p0[i], v1 = alpha * v0[i] + (1 - alpha) * slope * slope;
            const double m1 = m ? alpha * m0[i] + (1 - alpha) * slope : 0;
            const double u = slope / (sqrt(v1 - m1 * m1) + eps) + (velocity ? momentum * velocity0[i] : 0);
            near(v, i, v1, 1);
            if (m) near(m, i, m1, 1);
            if (velocity) near(velocity, i, u, 1);
            near(p, i, p0[i] - lr * u, 1);
        }
        finish();
    }
}

static void check_adagrad(int64_t n) {
    for (int way = 0; way < 2; way++) {
        const double lr = 0.1, eps = 1e-3, decay = way ? 0.1 : 0;
        void *p = inout(n, -1, 1), *v = inout(n, 0, 1);
        const void *g = in(n, -1, 1);
        const double *p0 = was(p, n), *v0 = was(v, n);
        done(tae_adagrad(dtype, n, p, g, v, lr, eps, decay));
        for (int64_t i = 0; i < n; i++) {
            const double slope = at(g, i) + decay * p0[i], v1 = v0[i] + slope * slope;
            near(v, i, v1, 1);
            near(p, i, p0[i] - lr * slope / (sqrt(v1) + eps), 1);
        }
        finish();
    }
}

static void check_adadelta(int64_t n) {
    for (int way = 0; way < 2; way++) {
        const double lr = 0.1, rho = 0.9, eps = 1e-3, decay = way ? 0.1 : 0;
        void *p = inout(n, -1, 1), *v = inout(n, 0, 1), *u = inout(n, 0, 1);
        const void *g = in(n, -1, 1);
        const double *p0 = was(p, n), *v0 = was(v, n), *u0 = was(u, n);
        done(tae_adadelta(dtype, n, p, g, v, u, lr, rho, eps, decay));
        for (int64_t i = 0; i < n; i++) {
            const double slope = at(g, i) + decay * p0[i], v1 = rho * v0[i] + (1 - rho) * slope * slope;
            const double d = sqrt(u0[i] + eps) / sqrt(v1 + eps) * slope;
            near(v, i, v1, 1);
            near(u, i, rho * u0[i] + (1 - rho) * d * d, 1);
            near(p, i, p0[i] - lr * d, 1);
        }
        finish();
    }
}

enum { RNN, LSTM, GRU };

/* u = the row h times weight (hidden, wide), + bias. */
static void sums_of(int64_t hidden, int64_t wide, const void *h, int64_t row, const void *weight, const void *bias,
                    double *u) {
    for (int64_t i = 0; i < wide; i++) u[i] = bias ? at(bias, i) : 0;
    for (int64_t p = 0; p < hidden; p++)
        for (int64_t i = 0; i < wide; i++) u[i] += at(h, row + p) * at(weight, p * wide + i);
}

/* Each step is held against the formula from the state that the step before has left. */
static void recurrent(int kind, int way, int64_t n, int64_t k) {
    const int64_t steps = 3, gates[] = {1, 4, 3}, wide = gates[kind] * k, all = steps * n * k;
    const int relu = way == 3, reverse = way & 1, repeats = way == 2, sides = kind == LSTM ? 2 : 1;
    const int keeps = kind != RNN && (way ^ n) & 1;
    const double most = 1.5 / sqrt((double)k + 1);
    const int64_t *lengths = way & 2 ? labels(n, steps + 1) : NULL;
    const void *z = in((repeats ? 1 : steps) * n * wide, -1, 1), *weight = in(k * wide, -most, most);
    const void *bias = way != 1 ? in(wide, -1, 1) : NULL, *h = in(n * k, -1, 1);
    const void *c = kind == LSTM ? in(n * k, -1, 1) : NULL, *g = in(sides * all, -1, 1);
    void *weight_t = out(k * wide);
    for (int64_t i = 0; i < k * wide; i++) put(weight_t, i % wide * k + i / wide, at(weight, i));
    fixed(weight_t);
    void *work = keeps ? NULL : out(n * k * (kind == RNN ? 1 : 4)), *kept = keeps ? out(steps * n * k * 4) : NULL;
    void *dz = out(steps * n * wide), *du = kind == GRU ? out(steps * n * wide) : NULL;
    void *dh = out(n * k), *dc = kind == LSTM ? out(n * k) : NULL, *y = out(sides * all);
    done(tae_recurrent(kind, dtype, relu, reverse, steps, n, k, lengths, z, repeats, weight, bias, h, c, y, work,
                       kept));
    fixed(y);
    if (kept) fixed(kept);
    done(tae_recurrent_backward(kind, dtype, relu, reverse, steps, n, k, lengths, z, repeats, weight, weight_t, bias,
                                h, c, y, kept, g, dz, du, dh, dc));
    double *u = zeros(wide), *slope_h = zeros(n * k), *slope_c = zeros(n * k);
#define ACT(x) (relu ? fmax(x, 0) : tanh(x))
#define ACT_SLOPE(y) (relu ? (y) > 0 : 1 - (y) * (y))
    for (int64_t s = steps; s-- > 0;)
        for (int64_t r = 0; r < n; r++) {
            const int64_t t = reverse ? steps - 1 - s : s, before = reverse ? t + 1 : t - 1, now = (t * n + r) * k;
            const void *h0 = s ? y : h, *c0 = s ? y : c;
            const int64_t at_h = s ? (before * n + r) * k : r * k, at_c = s ? all + at_h : at_h;
            const int64_t at_z = (repeats ? r : t * n + r) * wide, to = (t * n + r) * wide;
            const int held = lengths && t >= lengths[r];
            sums_of(k, wide, h0, at_h, weight, bias, u);
            for (int64_t j = 0; j < k; j++) {
                double *d_h = slope_h + r * k + j, *d_c = slope_c + r * k + j, x[4] = {0}, d[4] = {0};
                const double old = at(h0, at_h + j), p = kind == GRU ? u[2 * k + j] : 0;
                *d_h += at(g, now + j);
                if (c) *d_c += at(g, all + now + j);
                if (held) {
                    if (at(y, now + j) != old || (c && at(y, all + now + j) != at(c0, at_c + j)))
                        complain("a state changed that should not");
                } else if (kind == RNN) {
                    near(y, now + j, ACT(at(z, at_z + j) + u[j]), 1);
                    d[0] = *d_h * ACT_SLOPE(at(y, now + j));
                    *d_h = 0;
                } else if (kind == LSTM) {
                    for (int i = 0; i < 4; i++) x[i] = at(z, at_z + i * k + j) + u[i * k + j];
                    const double in = sigmoid(x[0]), forget = sigmoid(x[1]), new = ACT(x[2]), gate = sigmoid(x[3]);
                    const double last = at(c0, at_c + j), state = at(y, all + now + j), seen = ACT(state);
                    near(y, all + now + j, forget * last + in * new, 1);
                    near(y, now + j, gate * seen, 1);
                    *d_c += *d_h * gate * ACT_SLOPE(seen);
                    d[0] = *d_c * new * in * (1 - in);
                    d[1] = *d_c * last * forget * (1 - forget);
                    d[2] = *d_c * in * ACT_SLOPE(new);
                    d[3] = *d_h * seen * gate * (1 - gate);
                    *d_c *= forget;
                    *d_h = 0;
                } else {
                    for (int i = 0; i < 2; i++) x[i] = sigmoid(at(z, at_z + i * k + j) + u[i * k + j]);
                    const double new = ACT(at(z, at_z + 2 * k + j) + x[0] * p);
                    near(y, now + j, new + x[1] * (old - new), 1);
                    d[2] = *d_h * (1 - x[1]) * ACT_SLOPE(new);
                    d[0] = d[2] * p * x[0] * (1 - x[0]);
                    d[1] = *d_h * (old - new) * x[1] * (1 - x[1]);
                    *d_h *= x[1];
                }
                for (int64_t i = 0; i < gates[kind]; i++) {
                    near(dz, to + i * k + j, d[i], 3);
                    u[i * k + j] = i == 2 && du ? d[i] * x[0] : d[i];
                    if (du) near(du, to + i * k + j, u[i * k + j], 3);
                }
            }
            for (int64_t i = 0; i < k * wide; i++) slope_h[r * k + i / wide] += u[i % wide] * at(weight, i);
        }
#undef ACT
#undef ACT_SLOPE
    for (int64_t i = 0; i < n * k; i++) {
        near(dh, i, slope_h[i], 3);
        if (dc) near(dc, i, slope_c[i], 3);
    }
    finish();
}

static void check_recurrent(int64_t n) {
    for (int kind = RNN; kind <= GRU; kind++)
        for (int way = 0; way < 4; way++) recurrent(kind, way, n, 7);
}

static void check_recurrent_widths(int64_t n) {
    for (int kind = RNN; kind <= GRU; kind++)
        for (int way = 0; way < 4; way++) recurrent(kind, way, 2, n);
}

/* Word i of Philox4x32-10 (Salmon et al. 2011). */
static uint32_t philox(uint64_t i, uint64_t key, uint64_t counter) {
    const uint64_t block = i / 4;
    uint32_t c[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)counter, (uint32_t)(counter >> 32)};
    uint32_t k[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)c[0] * 0xd2511f53u, b = (uint64_t)c[2] * 0xcd9e8d57u;
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k[0];
        c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k[1];
        c[3] = (uint32_t)a;
        k[0] += 0x9e3779b9u;
        k[1] += 0xbb67ae85u;
    }
    return c[i % 4];
}

static double uniform_at(int64_t i, uint64_t key, uint64_t counter) {
    const uint64_t j = (uint64_t)i;
    if (!dtype) return (double)(philox(j, key, counter) >> 8) * 0x1p-24;
    const double high = philox(2 * j, key, counter) >> 5, low = philox(2 * j + 1, key, counter) >> 6;
    return (high * 0x1p26 + low) * 0x1p-53;
}

static void check_noise(int64_t n) {
    const uint64_t key = 0x123456789abcdef0u, counter = 0xfedcba9876543210u;
    const double p = 0.3;
    void *flat = out(n), *normal = out(n), *chance = out(n);
    done(tae_noise(0, dtype, n, key, counter, 0, flat));
    done(tae_noise(1, dtype, n, key, counter, 0, normal));
    done(tae_noise(2, dtype, n, key, counter, p, chance));
    for (int64_t i = 0; i < n; i++) {
        const double u = uniform_at(i, key, counter), v = uniform_at(i ^ 1, key, counter);
        near(flat, i, u, 0);
        near(chance, i, u < p, 0);
        const double radius = sqrt(-2 * log(1 - (i & 1 ? v : u))), turn = 2 * M_PI * (i & 1 ? u : v);
        near(normal, i, radius * (i & 1 ? sin(turn) : cos(turn)), 1);
    }
    finish();
}

/* A plan of two instructions: y = 2, then its sum.  test_plan*.py asks for all the others. */
/* A product by pieces and what follows on it, where the processor can; else by FMA. */
static void check_plan_pieces(int64_t n) {
    int relu = 0;
    while (strcmp(tae_unary_name(relu), "relu")) relu++;
    for (int bare = 0; bare < 2 && !dtype; bare++) {
        const void *a = in(n * n, -1, 1), *b = in(n * 40, -1, 1), *bias = in(40, -1, 1);
        void *c = out(n * 40);
        tae_buffer memory[] = {{(void *)a, n * n * 4, 0}, {(void *)b, n * 160, 0}, {(void *)bias, 160, 0}, {c, n * 160, 1}};
        tae_instruction product = {.kind = TAE_GEMM, .gemm = {
            .pieces = 3, .m = n, .n = 40, .k = n, .a = {0, 0}, .a_rs = 1, .a_cs = n, .b = {1, 0}, .b_rs = 40, .b_cs = 1,
            .c = {3, 0}, .c_rs = 40, .bias = {bare ? -1 : 2, 0}, .activation = bare ? -1 : relu, .alpha = 2}};
        tae_plan plan = {.buffers = 4, .instructions = 1, .buffer = memory, .instruction = &product};
        if (tae_plan_prepare(&plan) != -1 || tae_plan_run(&plan, 0, 1, NULL) != -1) complain("a product did not run");
        for (int64_t i = 0; i < n * 40; i++) {
            double sum = bare ? 0 : at(bias, i % 40);
            for (int64_t p = 0; p < n; p++) sum += 2 * at(a, p * n + i / 40) * at(b, p * 40 + i % 40);
            if (!bare && sum < 0) sum = 0;
            if (!(fabs(at(c, i) - sum) <= (1 + 2 * (double)n) * 1e-6)) complain("a product by pieces in a plan");
        }
        product.gemm.pieces = 4;
        if (tae_plan_prepare(&plan) != 0) complain("four pieces are taken");
        finish();
    }
}

static void check_plan(int64_t n) {
    void *y = out(n), *sum = out(1);
    double losses[2] = {0, 0};
    tae_buffer memory[] = {{y, n * (int64_t)sizes_of[dtype], 1}, {sum, (int64_t)sizes_of[dtype], 1}};
    tae_instruction steps[] = {
        {.kind = TAE_FILL, .dtype = dtype, .fill = {n, 2, {0, 0}}},
        {.kind = TAE_REDUCE, .dtype = dtype, .reduce = {TAE_REDUCE_SUM, 1, n, 1, {0, 0}, {1, 0}}},
    };
    tae_plan plan = {.buffers = 2, .instructions = 2, .buffer = memory, .instruction = steps};
    if (tae_plan_prepare(&plan) != -1) complain("a plan is refused");
    plan.scratch = aligned_alloc(64, (size_t)plan.scratch_bytes + 64 - (size_t)plan.scratch_bytes % 64);
    if (tae_plan_run(&plan, 0, 2, NULL) != -1) complain("a plan did not run");
    for (int64_t i = 0; i < n; i++) near(y, i, 2, 0);
    near(sum, 0, 2 * (double)n, 0);
    const tae_loss loss = {dtype, {1, 0}, losses};
    if (tae_plan_epoch(&plan, NULL, 2, 0, NULL, 1, &loss) != -1) complain("an epoch did not run");
    if (losses[0] != 2 * (double)n || losses[1] != losses[0]) complain("an epoch's losses");
    free(plan.scratch);
    finish();
}

static void check_peaks(int64_t n) {
    double flops = 0;
    done(tae_peak_fma(dtype, n, &flops));
    if (!(flops > 0) && n > 0) complain("no operations were counted");
    const void *x = in(n, -1, 1), *g = in(n, -1, 1);
    void *copy = out(n), *p = inout(n, -1, 1), *m = inout(n, -1, 1), *v = inout(n, -1, 1);
    const double *p0 = was(p, n), *m0 = was(m, n), *v0 = was(v, n);
    done(tae_peak_copy(dtype, n, x, copy));
    done(tae_peak_rotate(dtype, n, p, g, m, v));
    for (int64_t i = 0; i < n; i++) {
        near(copy, i, at(x, i), 0);
        near(p, i, m0[i], 0);
        near(m, i, v0[i], 0);
        near(v, i, at(g, i) - p0[i], 1);
    }
    finish();
}

/* Twice the n is 2^power times the work. */
static const struct {
    const char *name;
    void (*check)(int64_t n);
    int power;
} checks[] = {
    {"library", check_library, 0},
    {"unary", check_unary, 1},
    {"binary", check_binary, 1},
    {"gemm", check_gemm, 3},
    {"gemm at the edges", check_gemm_edges, 1},
    {"gemm_stack", check_gemm_stack, 1},
    {"gemm_split", check_gemm_split, 2},
    {"conv2d", check_conv2d, 1},
    {"sums over windows", check_pools, 1},
    {"max_pool", check_max_pool, 1},
    {"reductions", check_reductions, 1},
    {"softmax", check_softmax, 1},
    {"losses", check_losses, 1},
    {"gather", check_gather, 1},
    {"sgd", check_sgd, 1},
    {"adam", check_adam, 1},
    {"rmsprop", check_rmsprop, 1},
    {"adagrad", check_adagrad, 1},
    {"adadelta", check_adadelta, 1},
    {"recurrent", check_recurrent, 1},
    {"recurrent, its width", check_recurrent_widths, 2},
    {"noise", check_noise, 1},
    {"plan", check_plan, 1},
    {"plan, by pieces", check_plan_pieces, 2},
    {"peaks", check_peaks, 1},
};
enum { CHECKS = sizeof checks / sizeof *checks };

static void run(int which, int of_dtype, int64_t n) {
    name = checks[which].name;
    dtype = of_dtype;
    size = n;
    wrong = 0;
    state = (uint32_t)n + 1;
    checks[which].check(n);
}

/* ---- four callers at once ---------------------------------------------------------------------------------------- */

static int running;
static void *caller(void *number) {
    const int64_t sizes[] = {5, 33, 131};  /* of which the last is a product for more than one thread */
    for (int s = 0; s < 3; s++)
        for (int i = 0; i < CHECKS; i++) run((i + 3 * (int)(intptr_t)number) % CHECKS, s & 1, sizes[s]);
    __atomic_sub_fetch(&running, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void callers(void) {
    pthread_t thread[4];
    running = 4;
    for (intptr_t i = 0; i < 4; i++) pthread_create(&thread[i], NULL, caller, (void *)i);
    for (int n = 1; __atomic_load_n(&running, __ATOMIC_SEQ_CST); n = n % 4 + 1) {
        tae_set_threads(n);
        usleep(2000);
    }
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    tae_set_threads(1);
}

/* ---- work -------------------------------------------------------------------------------------------------------- */

#ifdef WORK
static int64_t blocks;
void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void) { blocks++; }

static void work(void) {
    for (int i = 0; i < CHECKS; i++)
        for (int of_dtype = 0; of_dtype < 2; of_dtype++) {
            const int64_t n = checks[i].power > 1 ? 192 : 8192;
            int64_t counted[2];
            for (int doubled = 0; doubled < 2; doubled++) {
                blocks = 0;
                run(i, of_dtype, n << doubled);
                counted[doubled] = blocks;
            }
            if (counted[0] == 0) continue;  /* no such dtype */
            const double growth = (double)counted[1] / (double)counted[0] / (double)(1 << checks[i].power);
            printf("%s %s %s: %lld blocks at %d, grows %.2f of what it should\n", tae_isa(), name,
                   of_dtype ? "f64" : "f32", (long long)counted[0], (int)n, growth);
            if (!(growth > 0.8 && growth < 1.2)) complain("work does not grow as it should");
        }
}
#endif

int main(void) {
    const int64_t primes[] = {37, 61, 67, 127, 131, 257, 521};
    for (int isa = 0; tae_isa_name(isa); isa++) {
        if (tae_use_isa(tae_isa_name(isa)) != TAE_DONE) continue;
#ifdef WORK
        (void)primes, (void)callers;
        work();
#else
        for (int of_dtype = 0; of_dtype < 2; of_dtype++)
            for (int i = 0; i < CHECKS; i++) {
                for (int64_t n = 0; n <= 33; n++) run(i, of_dtype, n);
                for (size_t p = 0; p < sizeof primes / sizeof *primes; p++)
                    if (checks[i].power < 2 || primes[p] < 200) run(i, of_dtype, primes[p]);
            }
        callers();
#endif
        printf("%s: %s\n", tae_isa(), failures ? "wrong" : "ok");
    }
    return failures != 0;
}
