/* isa_amx.c: float32 products from bfloat16 pieces, on a unit that multiplies tiles (AMX, in x86-64 servers since 2023).
 *
 * A float32 x is the sum of up to three bfloat16: the nearest one, the one nearest to what is left, and the rest.  Each
 * has the 8 bits of significand that the unit takes, and float32's exponents.  Then A B is the sum of the products of
 * the pieces, of which those too small to matter are left out: with three pieces six products are kept, and the result
 * is as exact as float32; with two, three (some 4e-6 of |A| |B|); with one, one (some 2e-3).  See Henry, Tang, Heinecke:
 * Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations, 2019.
 *
 * That holds where no product of pieces falls out of float32's range, that is for zeros and for magnitudes between
 * 2^-55 and 2^55; `tae_tiles_fit` tells, and the caller does other products by FMA.
 *
 * This file has NEVER RUN ON SUCH A UNIT: there was none.  The unit is nine macros.  With TAE_TILE_MODEL they stand for
 * plain C that does what the manual says of each instruction, and thus tests/tiles_check.c proves all but the macros.
 *
 * Note [Tiles]
 * A tile is 16 rows of 64 bytes.  DOT adds to a tile of C, 16 x 16 float32, the product of 16 x 32 bfloat16 of A and 32 x
 * 16 of B; the tile of B has in row r the rows 2r and 2r + 1 of B in turns.  Of eight tiles four are a 32 x 32 block of C
 * and two each are what it needs of A and B: four products for four loads.
 *
 * Bits: as Note [Bits] of gemm.inc, but with the sums of TILES_K in the order of the unit.  They depend on neither the
 * rows and columns around, nor the threads. */
#define _DEFAULT_SOURCE  /* syscall */
#include "internal.h"

#if TAE_TILES

#ifdef TAE_TILE_MODEL
static THREAD_LOCAL union {
    float f[16][16];
    uint16_t h[16][32];
} tile[8];
static float widened(uint16_t h) {
    const uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static void model_dot(int c, int a, int b) {
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) {
            float even = 0, odd = 0;
            for (int p = 0; p < 16; p++) {
                even = fmaf(widened(tile[a].h[i][2 * p]), widened(tile[b].h[p][2 * j]), even);
                odd = fmaf(widened(tile[a].h[i][2 * p + 1]), widened(tile[b].h[p][2 * j + 1]), odd);
            }
            tile[c].f[i][j] += even + odd;
        }
}
static void model_copy(void *to, int64_t to_step, const void *from, int64_t from_step) {
    for (int i = 0; i < 16; i++) memcpy((char *)to + i * to_step, (const char *)from + i * from_step, 64);
}
#define UNIT
#define TILES_EXIST() 1
#define TILES_OPEN() memset(tile, 0xff, sizeof tile)
#define TILES_CLOSE() memset(tile, 0xff, sizeof tile)
#define TILE_ZERO(t) memset(&tile[t], 0, sizeof tile[t])
#define TILE_LOAD(t, from) model_copy(&tile[t], 64, from, 64)
#define TILE_DOT(c, a, b) model_dot(c, a, b)
#define TILE_STORE(t, to, step) model_copy(to, step, &tile[t], 64)
#else
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The processor must have the unit, the system must save its registers, and this process must have been allowed to use
 * them, for they are 8 KiB in every context: Linux's Documentation/arch/x86/xstate.rst. */
static int unit_is_ours(void) {
    enum { ALLOW = 0x1023, TILE_DATA = 18 };  /* ARCH_REQ_XCOMP_PERM */
    unsigned a, b, c, d, saved, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if ((saved & 0x600e6) != 0x600e6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    return (d >> 22 & 1) && (d >> 24 & 1) && syscall(SYS_arch_prctl, ALLOW, TILE_DATA) == 0;
}

static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} layout = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

#define UNIT __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-bf16")))
#define TILES_EXIST() unit_is_ours()
#define TILES_OPEN() _tile_loadconfig(&layout)
#define TILES_CLOSE() _tile_release()  /* else every switch of context would go on to save them */
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, from) _tile_loadd(t, from, 64)
#define TILE_DOT(c, a, b) _tile_dpbf16ps(c, a, b)
#define TILE_STORE(t, to, step) _tile_stored(t, to, step)
#endif

enum {
    BLOCK = 32,           /* rows and columns of C at a time */
    TILES_K = 256,        /* the longest sum before it is added to C */
    TILES_COLUMNS = 512,  /* columns of B at a time: their pieces stay in the second-level cache */
    PIECES = 3,
    TILE = 512,           /* bfloat16 in a tile */
    STEPS = TILES_K / 32, /* tiles along k */
};

/* Which pieces are multiplied, by their number: the small products first. */
static const struct { int a, b; } pairs[] = {{0, 2}, {2, 0}, {1, 1}, {0, 1}, {1, 0}, {0, 0}};
static const int first_pair[PIECES + 1] = {0, 5, 3, 0};

/* Asked at the first call. */
int tae_tiles(void) {
    static int known;  /* 1 = no, 2 = yes; threads that find 0 at once all get the same answer */
    int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (!answer) {
        answer = 1 + TILES_EXIST();
        __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
    }
    return answer - 1;
}

UNIT int tae_tiles_fit(int64_t rows, int64_t columns, const float *x, int64_t rs, int64_t cs) {
    if (cs != 1 && (rs == 1 || rs == -1)) return tae_tiles_fit(columns, rows, x, cs, rs);
    const uint32_t normal = 1u << 23, low = (127 - 55) * normal, high = (127 + 55) * normal;
    for (int64_t i = 0; i < rows; i++) {
        uint32_t outside = 0;
        for (int64_t j = 0; j < columns; j++) {
            uint32_t bits;
            memcpy(&bits, x + i * rs + j * cs, sizeof bits);
            bits &= 0x7fffffff;
            outside |= (bits >= normal) & (bits - low > high - low);
        }
        if (outside) return 0;
    }
    return 1;
}

/* Takes the nearest bfloat16, ties to even, away from *x, which is finite. */
ALWAYS_INLINE uint16_t piece_of(float *x) {
    uint32_t bits;
    memcpy(&bits, x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    float nearest;
    memcpy(&nearest, &bits, sizeof nearest);
    *x -= nearest;
    return (uint16_t)(bits >> 16);
}

/* Splits 16 lines of A (columns of B), k elements of each, into tiles: piece w of step s is every second one from
 * to[(w STEPS + s) 2 TILE] on.  There are no lines from `end` on: zeros stand for what is not there.  For B two
 * neighbours along k stand together: Note [Tiles]. */
UNIT static void split(int pieces, int of_b, int64_t first, int64_t end, int64_t k, const float *from,
                       int64_t line_step, int64_t k_step, uint16_t *to) {
    for (int64_t s = 0; s * 32 < k; s++) {
        float left[16][32] = {{0}};
        for (int64_t i = first; i < end && i < first + 16; i++)
            for (int64_t p = 0; p < 32 && s * 32 + p < k; p++)
                left[i - first][p] = from[i * line_step + (s * 32 + p) * k_step];
        for (int w = 0; w < pieces; w++) {
            uint16_t *t = to + (w * STEPS + s) * 2 * TILE;
            if (of_b)
                for (int p = 0; p < 32; p++)
                    for (int j = 0; j < 16; j++) t[p / 2 * 32 + 2 * j + p % 2] = piece_of(&left[j][p]);
            else
                for (int i = 0; i < 16; i++)
                    for (int p = 0; p < 32; p++) t[i * 32 + p] = piece_of(&left[i][p]);
        }
    }
}

/* c (32, 32) = the sum over `steps` tiles of the products of the pieces of a and b, packed as above, two side by side. */
UNIT static void multiply(int pieces, int64_t steps, const uint16_t *a, const uint16_t *b, float c[BLOCK][BLOCK]) {
    __asm__ volatile("" : : : "memory");  /* gcc is not told that loads of tiles read what was packed */
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (int pair = first_pair[pieces]; pair < 6; pair++)
        for (int64_t s = 0; s < steps; s++) {
            const uint16_t *u = a + (pairs[pair].a * STEPS + s) * 2 * TILE;
            const uint16_t *v = b + (pairs[pair].b * STEPS + s) * 2 * TILE;
            TILE_LOAD(4, u);
            TILE_LOAD(5, u + TILE);
            TILE_LOAD(6, v);
            TILE_LOAD(7, v + TILE);
            TILE_DOT(0, 4, 6);
            TILE_DOT(1, 4, 7);
            TILE_DOT(2, 5, 6);
            TILE_DOT(3, 5, 7);
        }
    TILE_STORE(0, c[0], sizeof c[0]);
    TILE_STORE(1, &c[0][16], sizeof c[0]);
    TILE_STORE(2, c[16], sizeof c[0]);
    TILE_STORE(3, &c[16][16], sizeof c[0]);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

UNIT void tae_gemm_tiles(int pieces, const gemm_call *q, void *scratch) {
    enum { PANEL = PIECES * STEPS * 2 * TILE };  /* of 32 rows of A, or columns of B, along TILES_K */
    _Static_assert((TILES_COLUMNS / BLOCK + 1) * PANEL * sizeof(uint16_t) <= SCRATCH_BYTES, "scratch");
    uint16_t *const b_room = scratch, *const a_room = b_room + TILES_COLUMNS / BLOCK * PANEL;
    const float alpha = (float)q->alpha, beta = (float)q->beta;
    TILES_OPEN();
    for (int64_t j0 = 0; j0 < q->n; j0 += TILES_COLUMNS)
        for (int64_t p0 = 0; p0 < q->k; p0 += TILES_K) {
            const int64_t n = least(q->n - j0, TILES_COLUMNS), k = least(q->k - p0, TILES_K), steps = (k + 31) / 32;
            const float *a = (const float *)q->a + p0 * q->a_cs, *b = (const float *)q->b + p0 * q->b_rs + j0 * q->b_cs;
            for (int64_t j = 0; j < n; j += BLOCK) {
                split(pieces, 1, j, n, k, b, q->b_cs, q->b_rs, b_room + j / BLOCK * PANEL);
                split(pieces, 1, j + 16, n, k, b, q->b_cs, q->b_rs, b_room + j / BLOCK * PANEL + TILE);
            }
            for (int64_t i = 0; i < q->m; i += BLOCK) {
                split(pieces, 0, i, q->m, k, a, q->a_rs, q->a_cs, a_room);
                split(pieces, 0, i + 16, q->m, k, a, q->a_rs, q->a_cs, a_room + TILE);
                for (int64_t j = 0; j < n; j += BLOCK) {
                    ALIGNED(64) float sums[BLOCK][BLOCK];
                    multiply(pieces, steps, a_room, b_room + j / BLOCK * PANEL, sums);
                    for (int64_t r = 0; r < least(q->m - i, BLOCK); r++) {
                        float *c = (float *)q->c + (i + r) * q->c_rs + j0 + j;
                        for (int64_t l = 0; l < least(n - j, BLOCK); l++) {
                            const float before = p0 ? c[l] : beta != 0 ? beta * c[l] : 0;
                            c[l] = alpha * sums[r][l] + before;
                        }
                    }
                }
            }
        }
    TILES_CLOSE();
}

#endif
