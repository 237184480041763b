/* tiles_check.c: csrc/isa_amx.c with plain C in the place of the unit, which is rarely at hand.
 *
 *     cc -DTAE_TILE_MODEL -Icsrc tests/tiles_check.c -lm -o check && ./check
 *
 * Every size around the edges of its blocks, every layout, against float64; then, on one product, the error of 3, 2 and 1
 * pieces and of FMA, relative to the largest result.  Prints those four; exit status 0: all sizes are well. */
#include <stdio.h>
#include <stdlib.h>

#include "../csrc/isa_amx.c"

static int failures;
static uint32_t state = 1;
static float noise(void) {
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        state = state * 1664525u + 1013904223u;
        sum += (float)(int32_t)state / 2147483648.0f;
    }
    return sum;
}

static float *numbers(int64_t n) {  /* exactly as large as it is: a sanitizer sees the first byte beyond */
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = noise();
    return x;
}

static double exact(const gemm_call *q, int64_t i, int64_t j, double *magnitude) {
    double sum = 0;
    *magnitude = 0;
    for (int64_t p = 0; p < q->k; p++) {
        const double a = ((const float *)q->a)[i * q->a_rs + p * q->a_cs];
        const double term = a * ((const float *)q->b)[p * q->b_rs + j * q->b_cs];
        sum += term;
        *magnitude += fabs(term);
    }
    return sum;
}

static ALIGNED(64) unsigned char scratch[SCRATCH_BYTES];

static void check(int64_t m, int64_t n, int64_t k) {
    static const double bound[] = {0, 8e-3, 3e-5, 1e-6};
    for (int way = 0; way < 8; way++)
        for (int pieces = 1; pieces <= 3; pieces++) {
            const int64_t c_rs = n + (way & 1);
            float *a = numbers(m * k), *b = numbers(k * n), *c = numbers(m * c_rs), *before = numbers(m * c_rs);
            memcpy(before, c, (size_t)(m * c_rs) * sizeof *c);
            const gemm_call q = {
                .m = m, .n = n, .k = k,
                .a = a, .a_rs = way & 1 ? 1 : k, .a_cs = way & 1 ? m : 1,
                .b = b, .b_rs = way & 2 ? 1 : n, .b_cs = way & 2 ? k : 1,
                .c = c, .c_rs = c_rs, .activation = -1, .alpha = 1.5, .beta = way & 4 ? 2 : 0,
            };
            tae_gemm_tiles(pieces, &q, scratch);
            for (int64_t i = 0; i < m; i++) {
                double magnitude;
                for (int64_t j = 0; j < n; j++) {
                    const double old = q.beta * before[i * c_rs + j], right = 1.5 * exact(&q, i, j, &magnitude) + old;
                    failures += !(fabs(c[i * c_rs + j] - right) <= bound[pieces] * (1.5 * magnitude + fabs(old)));
                }
                for (int64_t j = n; j < c_rs; j++) failures += c[i * c_rs + j] != before[i * c_rs + j];
            }
            free(a), free(b), free(c), free(before);
        }
}

/* What may be split: 0 and 2^-55 to 2^55; and the place in a matrix does not matter. */
static void check_range(void) {
    static const struct { float x; int fits; } cases[] = {
        {0, 1}, {-0.0f, 1}, {1e-40f, 1}, {0x1p-55f, 1}, {-0x1p55f, 1}, {1, 1},  /* subnormals count as zero */
        {0x1.fffffep-56f, 0}, {-0x1.000002p55f, 0}, {INFINITY, 0}, {-NAN, 0}, {1e-37f, 0},
    };
    float x[5 * 7];
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int place = 0; place < 35; place++) {
            for (int i = 0; i < 35; i++) x[i] = 1;
            x[place] = cases[c].x;
            failures += tae_tiles_fit(5, 7, x, 7, 1) != cases[c].fits || tae_tiles_fit(7, 5, x, 1, 7) != cases[c].fits;
        }
}

int main(void) {
    static const int64_t sizes[] = {1, 2, 15, 16, 17, 31, 32, 33, 47, 65};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    check_range();
    for (int i = 0; i < SIZES; i++)
        for (int j = i % 2; j < SIZES; j += 2) check(sizes[i], sizes[j], 1 + (13 * i + 29 * j) % 70);
    check(33, 530, 40);
    check(17, 33, 600);

    enum { M = 64, N = 96, K = 1024 };
    float *a = numbers(M * K), *b = numbers(K * N), *c = numbers(M * N);
    const gemm_call q = {.m = M, .n = N, .k = K, .a = a, .a_rs = K, .a_cs = 1, .b = b, .b_rs = N, .b_cs = 1, .c = c,
                         .c_rs = N, .activation = -1, .alpha = 1};
    for (int pieces = 3; pieces >= 0; pieces--) {
        if (pieces) tae_gemm_tiles(pieces, &q, scratch);
        else
            for (int i = 0; i < M * N; i++) {  /* Note [Bits] of gemm.inc */
                c[i] = 0;
                for (int p0 = 0; p0 < K; p0 += 256) {
                    float block = 0;
                    for (int p = p0; p < p0 + 256; p++) block = fmaf(a[i / N * K + p], b[p * N + i % N], block);
                    c[i] += block;
                }
            }
        double worst = 0, largest = 0, magnitude;
        for (int i = 0; i < M * N; i++) {
            const double right = exact(&q, i / N, i % N, &magnitude);
            worst = fmax(worst, fabs(c[i] - right));
            largest = fmax(largest, fabs(right));
        }
        printf("%g ", worst / largest);
    }
    printf("\n");
    free(a), free(b), free(c);
    if (failures) printf("wrong: %d\n", failures);
    return failures != 0;
}
