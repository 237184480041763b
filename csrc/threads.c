/* threads.c: the worker pool.  A kernel cuts its work into tasks; the calling thread and the workers take them one by
 * one until none is left.  Which thread runs a task, and when, changes no bit: that is up to the kernel that cuts.
 *
 * What it promises: a call from a second thread while the pool is at work, or from within a task, runs all its tasks on
 * its own thread.  Workers spin for a while before they sleep, so that calls in a row are handed over in about a
 * microsecond; one that wakes too late finds nothing left, and for a single small job none is woken.  Workers start at
 * the first call that needs them, and stop before every fork: parent and child start their own when they need them.
 *
 * What it promises not to do: it never allocates, and it does not look for the number of processors to use; until
 * tae_set_threads says otherwise there is one thread.
 *
 * Where there are no POSIX threads or C11 atomics (Windows), every task runs on the calling thread. */
#define _DEFAULT_SOURCE  /* clock_gettime and sigset_t, which -std=c11 alone hides */
#include "internal.h"

#if defined(__unix__) || defined(__APPLE__)
#if !defined(__STDC_NO_ATOMICS__)
#define TAE_POOL 1
#endif
#endif

#ifdef TAE_POOL
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum {
    MOST_THREADS = 256,
    SPIN = 250000,     /* nanoseconds: longer than what Python does between two steps; a halted core wakes in about 50 us,
                        * and one that has been asleep at every step would be late for half of it */
    WAKE = 100000,     /* nanoseconds of work for which a sleeping worker is woken, which takes some 10 to 50 us */
    PATIENCE = 4000,   /* looks at the last tasks before the caller offers its processor to whoever runs them */
};

/* The job at hand.  `ticket` is its number * 2^32 + how many tasks are not yet taken; whoever lowers it by one has
 * taken the last of them.  While one is not taken the caller waits, so what the ticket stands for cannot change. */
static ALIGNED(64) atomic_uint_fast64_t ticket;
static ALIGNED(64) atomic_int_fast64_t unfinished;
static ALIGNED(64) _Atomic(tae_task *) job_task;
static _Atomic(void *) job_context;
static atomic_int invited;  /* workers below this number take part */

static atomic_flag owned = ATOMIC_FLAG_INIT;  /* by the thread whose job it is, or that changes what follows */
static atomic_int threads = 1;
static int workers, spins;
static int64_t ended;  /* when the last job did */
static atomic_int stopping;

static pthread_mutex_t bedroom = PTHREAD_MUTEX_INITIALIZER;
static struct {
    ALIGNED(64) atomic_int asleep;
    pthread_cond_t alarm;
    pthread_t thread;
    uint32_t seen;  /* the last job it knows of */
} worker[MOST_THREADS - 1];

static void relax(void) {
#if TAE_X86
    _mm_pause();
#elif TAE_NEON
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t job_number(void) { return (uint32_t)(atomic_load(&ticket) >> 32); }

static void work(void) {
    uint_fast64_t seen = atomic_load(&ticket);
    while ((uint32_t)seen) {
        tae_task *task = atomic_load(&job_task);
        void *context = atomic_load(&job_context);
        if (!atomic_compare_exchange_weak(&ticket, &seen, seen - 1)) continue;
        task(context, (int64_t)(uint32_t)seen - 1);
        atomic_fetch_sub(&unfinished, 1);
        seen = atomic_load(&ticket);
    }
}

/* Returns when there is a job after `seen`. */
static void wait_for_work(int me, uint32_t seen) {
    if (spins) {
        const int64_t end = nanoseconds() + SPIN;
        do
            for (int i = 0; i < 32; i++) {
                if (job_number() != seen) return;
                relax();
            }
        while (nanoseconds() < end);
    }
    pthread_mutex_lock(&bedroom);
    atomic_store(&worker[me].asleep, 1);  /* whoever publishes a job after this line sees it */
    while (job_number() == seen) pthread_cond_wait(&worker[me].alarm, &bedroom);
    atomic_store(&worker[me].asleep, 0);
    pthread_mutex_unlock(&bedroom);
}

static void *live(void *number) {
    const int me = (int)(intptr_t)number;
    for (uint32_t seen = worker[me].seen; !atomic_load(&stopping);) {
        wait_for_work(me, seen);
        seen = job_number();
        if (me < atomic_load(&invited)) work();
    }
    return NULL;
}

/* Announces a job to the first `guests` workers. */
static void publish(tae_task *task, void *context, uint32_t tasks, int guests) {
    atomic_store(&job_task, task);
    atomic_store(&job_context, context);
    atomic_store(&invited, guests);
    atomic_store(&unfinished, tasks);
    atomic_store(&ticket, (uint64_t)(job_number() + 1) << 32 | tasks);
    for (int i = 0; i < guests; i++)
        if (atomic_load(&worker[i].asleep)) {
            pthread_mutex_lock(&bedroom);
            pthread_cond_signal(&worker[i].alarm);
            pthread_mutex_unlock(&bedroom);
        }
}

static void own(void) {
    while (atomic_flag_test_and_set(&owned)) sched_yield();
}

static void disown(void) { atomic_flag_clear(&owned); }

/* Both only by the owner. */
static void stop(void) {
    atomic_store(&stopping, 1);
    publish(NULL, NULL, 0, workers);
    while (workers) {
        workers--;
        pthread_join(worker[workers].thread, NULL);
        pthread_cond_destroy(&worker[workers].alarm);
    }
    atomic_store(&stopping, 0);
}

/* A forked child has the forking thread only, and would wait for workers for ever. */
static void before_fork(void) {
    own();
    stop();
}
static void watch_forks(void) { pthread_atfork(before_fork, disown, disown); }

static void start(int wanted) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sigset_t all, before;
    pthread_once(&once, watch_forks);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  /* signals are for the threads that we did not make */
    for (; workers < wanted; workers++) {
        atomic_store(&worker[workers].asleep, 0);
        worker[workers].seen = job_number();
        if (pthread_cond_init(&worker[workers].alarm, NULL)) break;
        if (pthread_create(&worker[workers].thread, NULL, live, (void *)(intptr_t)workers)) {
            pthread_cond_destroy(&worker[workers].alarm);
            break;  /* fewer threads do the same work */
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int tae_threads(void) { return atomic_load(&threads); }

int tae_set_threads(int n) {
    if (n < 1 || n > MOST_THREADS) return TAE_BAD_ARGUMENT;
    own();
    if (n != atomic_load(&threads)) {
        stop();
        atomic_store(&threads, n);
        spins = n <= sysconf(_SC_NPROCESSORS_ONLN);  /* a spinning worker must not keep a working one waiting */
    }
    disown();
    return TAE_DONE;
}

static int one_sleeps(int guests) {
    for (int i = 0; i < guests; i++)
        if (atomic_load(&worker[i].asleep)) return 1;
    return 0;
}

static void alone(int64_t tasks, tae_task *task, void *context) {
    for (int64_t i = 0; i < tasks; i++) task(context, i);
}

void tae_parallel(int64_t tasks, double cost, tae_task *task, void *context) {
    int guests = atomic_load(&threads) - 1;
    if (guests >= tasks) guests = (int)tasks - 1;
    if (guests < 1 || tasks > UINT32_MAX || atomic_flag_test_and_set(&owned)) {
        alone(tasks, task, context);
        return;
    }
    if (workers < guests) start(guests);
    if (guests > workers) guests = workers;
    if (cost < (double)WAKE && one_sleeps(guests) && nanoseconds() - ended > SPIN) {
        alone(tasks, task, context);  /* a small job, and none just before it: they would wake to find it done */
    } else {
        publish(task, context, (uint32_t)tasks, guests);
        work();
        for (int looks = 0; atomic_load(&unfinished); looks++) {
            if (looks < PATIENCE) relax();
            else sched_yield();
        }
    }
    ended = nanoseconds();
    disown();
}

#else

int tae_threads(void) { return 1; }

int tae_set_threads(int n) { return n < 1 ? TAE_BAD_ARGUMENT : TAE_DONE; }

void tae_parallel(int64_t tasks, double cost, tae_task *task, void *context) {
    (void)cost;
    for (int64_t i = 0; i < tasks; i++) task(context, i);
}

#endif
