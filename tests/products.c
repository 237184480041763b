/* products.c: the matrix product and the worker pool without Python, so that sanitizers and emulators can watch them.
 * Every result is compared, bit by bit, with Note [Bits] of gemm.inc written down again.  Exit status 0: all equal. */
#define _DEFAULT_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../csrc/internal.h"

enum { K_BLOCK = 256 };
static int failures;

static uint32_t state = 1;
static double noise(void) {
    state = state * 1664525u + 1013904223u;
    return (double)(int32_t)state / 2147483648.0;
}

/* The pair (rows, columns) of strides of a (rows, columns) matrix: row by row, or transposed. */
static void strides(int transposed, int64_t rows, int64_t columns, int64_t *rs, int64_t *cs) {
    *rs = transposed ? 1 : columns;
    *cs = transposed ? rows : 1;
}

#define PRODUCTS(REAL, DTYPE, FMA)                                                                                     \
    static void expect_##REAL(int fused, int64_t m, int64_t n, int64_t k, const REAL *a, int64_t a_rs, int64_t a_cs,   \
                              const REAL *b, int64_t b_rs, int64_t b_cs, const REAL *before, const REAL *bias,         \
                              REAL *c) {                                                                               \
        for (int64_t i = 0; i < m; i++)                                                                                \
            for (int64_t j = 0; j < n; j++) {                                                                          \
                REAL total = before ? before[i * n + j] : 0;                                                           \
                for (int64_t p0 = 0; p0 < k; p0 += K_BLOCK) {                                                          \
                    REAL block = 0;                                                                                    \
                    for (int64_t p = p0; p < k && p < p0 + K_BLOCK; p++) {                                             \
                        REAL x = a[i * a_rs + p * a_cs], y = b[p * b_rs + j * b_cs];                                   \
                        if (fused) block = FMA(x, y, block);                                                           \
                        else { volatile REAL product = x * y; block = block + product; }                               \
                    }                                                                                                  \
                    total = p0 || before ? total + block : block;                                                      \
                }                                                                                                      \
                c[i * n + j] = bias ? total + bias[j] : total;                                                         \
            }                                                                                                          \
    }                                                                                                                  \
    static void check_##REAL(int64_t m, int64_t n, int64_t k, int ta, int tb, int adds) {                              \
        int64_t a_rs, a_cs, b_rs, b_cs;                                                                                \
        strides(ta, m, k, &a_rs, &a_cs);                                                                               \
        strides(tb, k, n, &b_rs, &b_cs);                                                                               \
        /* exactly as large as they are: a sanitizer sees the first byte beyond */                                     \
        REAL *a = malloc((size_t)(m * k) * sizeof *a), *b = malloc((size_t)(k * n) * sizeof *b);                       \
        REAL *c = malloc((size_t)(m * n) * sizeof *c), *right = malloc((size_t)(m * n) * sizeof *c);                   \
        REAL *before = malloc((size_t)(m * n) * sizeof *c), *bias = malloc((size_t)n * sizeof *c);                     \
        for (int64_t i = 0; i < m * k; i++) a[i] = (REAL)noise();                                                      \
        for (int64_t i = 0; i < k * n; i++) b[i] = (REAL)noise();                                                      \
        for (int64_t i = 0; i < m * n; i++) before[i] = (REAL)noise();                                                 \
        for (int64_t i = 0; i < n; i++) bias[i] = (REAL)noise();                                                       \
        expect_##REAL(strcmp(tae_isa(), "scalar") != 0, m, n, k, a, a_rs, a_cs, b, b_rs, b_cs, adds ? before : NULL,   \
                      bias, right);                                                                                    \
        for (int threads = 1; threads <= 4; threads++) {                                                               \
            tae_set_threads(threads);                                                                                  \
            memcpy(c, before, (size_t)(m * n) * sizeof *c);                                                            \
            int status = tae_gemm(DTYPE, m, n, k, a, a_rs, a_cs, b, b_rs, b_cs, c, n, bias, -1, 0, 1, adds);           \
            if (status != TAE_DONE || memcmp(c, right, (size_t)(m * n) * sizeof *c)) {                                 \
                printf("%s " #REAL " %d x %d x %d%s%s, %d threads: wrong\n", tae_isa(), (int)m, (int)k, (int)n,        \
                       ta ? ", A transposed" : "", tb ? ", B transposed" : "", threads);                               \
                failures++;                                                                                            \
            }                                                                                                          \
        }                                                                                                              \
        free(a), free(b), free(c), free(right), free(before), free(bias);                                              \
    }
PRODUCTS(float, 0, fmaf)
PRODUCTS(double, 1, fma)

/* Every task is run once, whoever takes it. */
enum { TASKS = 3000 };
static int runs[TASKS];
static void count(void *step, int64_t i) { runs[i] += *(int *)step; }

static void tasks(void) {
    int step = 1;
    for (int round = 0; round < 200; round++) {
        const int n = 1 + round * 37 % TASKS;
        memset(runs, 0, sizeof runs);
        tae_set_threads(1 + round / 50);
        tae_parallel(n, 1e9, count, &step);
        for (int i = 0; i < TASKS; i++)
            if (runs[i] != (i < n)) {
                printf("%d tasks on %d threads: number %d ran %d times\n", n, tae_threads(), i, runs[i]);
                failures++;
                return;
            }
    }
}

/* Tasks that wait for each other end only if each has a thread of its own, and the same threads serve again. */
static int arrived;
static void meet(void *all, int64_t i) {
    (void)i;
    __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
    for (int waits = 0; __atomic_load_n(&arrived, __ATOMIC_SEQ_CST) % *(int *)all; waits++) {
        usleep(100);
        if (waits > 300000) {
            printf("%d tasks are not on %d threads\n", *(int *)all, *(int *)all);
            exit(1);
        }
    }
}

static void together(void) {
    for (int n = 2; n <= 4; n++) {
        tae_set_threads(n);
        arrived = 0;
        for (unsigned round = 0; round < 5; round++) {
            tae_parallel(n, 1e9, meet, &n);
            usleep(round * 100);  /* now and then they have gone to sleep */
        }
    }
}

/* Four callers at once, of whom one has the workers, while the main thread forks and changes their number. */
enum { M = 150, N = 130, K = 120, CALLS = 200 };
static float A[M * K], B[K * N], expected[M * N];

static void *call(void *wrong) {
    float c[M * N];
    for (int i = 0; i < CALLS; i++) {
        tae_gemm(0, M, N, K, A, K, 1, B, N, 1, c, N, NULL, -1, 0, 1, 0);
        if (memcmp(c, expected, sizeof c)) *(int *)wrong = 1;
    }
    return NULL;
}

static void callers(int forks) {
    pthread_t thread[4];
    int wrong[4] = {0, 0, 0, 0};
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, call, &wrong[i]);
    for (int i = 0; i < 12; i++) {
        tae_set_threads(1 + i % 4);
        float c[M * N];
        tae_gemm(0, M, N, K, A, K, 1, B, N, 1, c, N, NULL, -1, 0, 1, 0);
        if (!forks) continue;
        const pid_t child = fork();
        if (child == 0) {
            int bad = 0;
            tae_set_threads(3);
            call(&bad);
            tae_set_threads(1);
            _exit(bad);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status) wrong[0] = 1;
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        failures += wrong[i];
    }
}

int main(int argc, char **argv) {
    static const int64_t shapes[][3] = {  /* m, n, k */
        {1, 1, 1}, {1, 70, 300}, {3, 33, 270}, {5, 33, 270}, {70, 1, 300}, {33, 3, 270}, {40, 5, 270}, {15, 15, 20},
        {7, 17, 31}, {13, 65, 257}, {2, 517, 3}, {12, 81, 9}, {131, 100, 40}, {259, 130, 300}, {110, 600, 60},
    };
    tasks();
    together();
    for (int isa = 0; tae_isa_name(isa); isa++) {
        if (tae_use_isa(tae_isa_name(isa)) != TAE_DONE) continue;
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int way = 0; way < 8; way++) {
                const int64_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
                check_float(m, n, k, way & 1, way & 2, way >> 2);
                check_double(m, n, k, way & 1, way & 2, way >> 2);
            }
        for (int i = 0; i < M * K; i++) A[i] = (float)noise();
        for (int i = 0; i < K * N; i++) B[i] = (float)noise();
        tae_set_threads(1);
        tae_gemm(0, M, N, K, A, K, 1, B, N, 1, expected, N, NULL, -1, 0, 1, 0);
        callers(argc > 1 && strcmp(argv[1], "forks") == 0);
        printf("%s: %s\n", tae_isa(), failures ? "wrong" : "ok");
    }
    tae_set_threads(1);
    return failures != 0;
}
