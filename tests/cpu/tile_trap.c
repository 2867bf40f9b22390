/* Lets code with AMX instructions run on a processor without them: each one traps as illegal, is decoded from its
 * bytes, done in software and stepped over. Built and loaded by test_bf16.py.
 *
 * Known are LDTILECFG, TILERELEASE, TILELOADD, TILESTORED, TILEZERO and TDPBF16PS in their VEX encoding; anything else,
 * and a tile that is used before LDTILECFG, ends the process. Source: Intel's Software Developer's Manual, volume 2. */
#define _GNU_SOURCE
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static __thread uint8_t tiles[8][16][64];
static __thread uint8_t shape[64]; /* as LDTILECFG was given it; its first byte is 0 before and after */
long trapped; /* how many instructions were done here */

static const int REGISTERS[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static void end(const char *why) {
    if (write(2, why, strlen(why)) < 0) _exit(98);
    _exit(99);
}

static int rows(int tile) { return shape[48 + tile]; }
static int width(int tile) { return shape[16 + 2 * tile] | shape[17 + 2 * tile] << 8; }

/* Reads the operand in memory that begins with the byte ModRM; *next is where the instruction ends. */
static int64_t operand(const uint8_t *code, greg_t *registers, int x, int b, int64_t *stride, const uint8_t **next) {
    int mod = code[0] >> 6, base = code[0] & 7, index = -1, scale = 0;
    const uint8_t *at = code + 1;
    if (base == 4) {
        scale = *at >> 6, index = (*at >> 3 & 7) | x << 3, base = *at & 7;
        at++;
        if (index == 4) index = -1;
    } else if (base == 5 && mod == 0) {
        end("an operand relative to the instruction is not known here\n");
    }
    int64_t address = 0;
    int32_t far = 0;
    if (base == 5 && mod == 0) mod = 2; /* no base, four bytes */
    else address = registers[REGISTERS[base | b << 3]];
    if (mod == 1) address += (int8_t)*at++;
    if (mod == 2) memcpy(&far, at, 4), address += far, at += 4;
    *stride = index < 0 ? 0 : registers[REGISTERS[index]] << scale;
    *next = at;
    return address;
}

static float wide(const uint8_t *half) {
    uint32_t bits = (uint32_t)half[1] << 24 | (uint32_t)half[0] << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static void dot(int c, int a, int b) {
    if (width(b) != width(c) || rows(a) != rows(c) || width(a) / 4 != rows(b)) end("tiles do not fit each other\n");
    for (int m = 0; m < rows(c); m++)
        for (int n = 0; n < width(c) / 4; n++) {
            float even = 0, odd = 0, sum;
            for (int k = 0; k < width(a) / 4; k++) {
                even = fmaf(wide(&tiles[a][m][4 * k]), wide(&tiles[b][k][4 * n]), even);
                odd = fmaf(wide(&tiles[a][m][4 * k + 2]), wide(&tiles[b][k][4 * n + 2]), odd);
            }
            memcpy(&sum, &tiles[c][m][4 * n], 4);
            sum += even + odd;
            memcpy(&tiles[c][m][4 * n], &sum, 4);
        }
}

static void on_illegal(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)registers[REG_RIP], *next = code + 5;
    (void)number, (void)info;
    if (code[0] != 0xC4 || (code[1] & 31) != 2 || code[2] & 0x84) end("an illegal instruction that is none of AMX\n");
    int x = !(code[1] & 64), b = !(code[1] & 32), source = ~(code[2] >> 3) & 15, prefix = code[2] & 3;
    int memory = code[4] >> 6 != 3, tile = code[4] >> 3 & 7;
    int64_t stride = 0, address = memory ? operand(code + 4, registers, x, b, &stride, &next) : 0;
    int configures = code[3] == 0x49 && prefix == 0;
    if (!configures && (shape[0] != 1 || !rows(tile))) end("a tile without a shape\n");
    if (configures && memory) {
        memcpy(shape, (void *)address, 64), memset(tiles, 0, sizeof tiles);
    } else if (configures) {
        memset(shape, 0, sizeof shape);
    } else if (code[3] == 0x49 && prefix == 3) {
        memset(tiles[tile], 0, sizeof tiles[tile]);
    } else if (code[3] == 0x4B && (prefix == 3 || prefix == 2)) {
        for (int m = 0; m < rows(tile); m++) {
            void *row = (void *)(address + m * stride);
            if (prefix == 3) memcpy(tiles[tile][m], row, width(tile));
            else memcpy(row, tiles[tile][m], width(tile));
        }
    } else if (code[3] == 0x5C && prefix == 2) {
        dot(tile, code[4] & 7, source);
    } else {
        end("an illegal instruction that is none of these of AMX\n");
    }
    __atomic_add_fetch(&trapped, 1, __ATOMIC_RELAXED);
    registers[REG_RIP] = (greg_t)next;
}

void set_trap(void) {
    struct sigaction action = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGILL, &action, NULL)) end("no trap\n");
}
