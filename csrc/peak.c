/* peak.c: this machine's limits, which the benchmarks hold the kernels against.  Nothing else calls these functions. */
#include "internal.h"

typedef struct {
    const tae_kernels *kernel;
    int64_t rounds;
    double flops[256];  /* of each task: tae_set_threads allows no more */
} fma_job;

static void fma_task(void *context, int64_t i) {
    fma_job *job = context;
    double sum;
    volatile double sink;
    job->flops[i] = job->kernel->peak_fma(job->rounds, &sum);
    sink = sum;
    (void)sink;
}

int tae_peak_fma(int dtype, int64_t rounds, double *flops) {
    if (dtype != 0 && dtype != 1) return TAE_NOT_MINE;
    if (rounds < 0 || !flops) return TAE_BAD_ARGUMENT;
    const int parts = tae_threads();
    fma_job job = {.kernel = tae_kernels_of(dtype), .rounds = rounds};
    tae_parallel(parts, 10.0 * (double)rounds, fma_task, &job);
    *flops = 0;
    for (int i = 0; i < parts; i++) *flops += job.flops[i];
    return TAE_DONE;
}

typedef struct {
    const tae_kernels *kernel;
    int64_t n, part, itemsize;
    const char *x;
    char *out;
} copy_job;

static void copy_task(void *context, int64_t i) {
    const copy_job *job = context;
    const int64_t first = i * job->part, left = job->n - first;
    job->kernel->peak_copy(left < job->part ? left : job->part, job->x + first * job->itemsize,
                           job->out + first * job->itemsize);
}

/* A count of elements whose bytes can be counted. */
static int is_count(int dtype, int64_t n) {
    return n >= 0 && n <= (int64_t)(PTRDIFF_MAX / (dtype ? sizeof(double) : sizeof(float)));
}

int tae_peak_copy(int dtype, int64_t n, const void *x, void *out) {
    if (dtype != 0 && dtype != 1) return TAE_NOT_MINE;
    if (!is_count(dtype, n) || (n && !(x && out))) return TAE_BAD_ARGUMENT;
    if (n == 0) return TAE_DONE;
    const int64_t parts = tae_threads(), part = n / parts / 64 * 64 + 64;  /* whole registers */
    copy_job job = {tae_kernels_of(dtype), n, part, dtype ? sizeof(double) : sizeof(float), x, out};
    tae_parallel((n + part - 1) / part, 0.1 * (double)n, copy_task, &job);
    return TAE_DONE;
}

int tae_peak_rotate(int dtype, int64_t n, void *p, const void *g, void *m, void *v) {
    if (dtype != 0 && dtype != 1) return TAE_NOT_MINE;
    if (!is_count(dtype, n) || (n && !(p && g && m && v))) return TAE_BAD_ARGUMENT;
    tae_kernels_of(dtype)->peak_rotate(n, p, g, m, v);
    return TAE_DONE;
}
