/* rng.h - seeded pseudo-random numbers for jitter and ids; the same seed gives the same run.
 *
 * Not for secrets. The generator is splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom
 * number generators", 2014).
 */
#ifndef HOLDFAST_BASE_RNG_H
#define HOLDFAST_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [low, high]; the bias of the modulo is below 2^-32 for the ranges used here. */
static inline uint64_t rng_between(struct rng *r, uint64_t low, uint64_t high)
{
    return high <= low ? low : low + rng_next(r) % (high - low + 1);
}

#endif
