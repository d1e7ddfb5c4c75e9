#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/log.h"

#define TWICE 20   /* of the first seeds, to see that the same seed gives the same world */
#define MANY  1000 /* from so many seeds on, everything must have been seen */

static const char usage[] =
    "usage: sim --seeds N [--from S]    run N worlds from seed S (1) on\n"
    "       sim --seed S [--trace]      run one, and print every event, order and change\n";

static uint64_t run_seed(uint64_t seed, bool trace, struct sights *sights)
{
    struct sim *s = calloc(1, sizeof(*s));
    uint64_t hash;

    if (s == NULL)
        abort();
    s->seed = seed;
    s->trace = trace;
    s->sights = sights;
    sim_run(s);
    hash = s->hash;
    sim_release(s);
    free(s);
    return hash;
}

/* Outcomes that no world can bring about: they are about what stands before the core, or about
 * requests that are handed on unread. */
static bool is_elsewhere(enum failure f)
{
    return f == REJECTED || f == KEY_SCOPE;
}

static unsigned print_sights(const struct sights *v)
{
#define SIGHT_TEXT(name, text) text,
    static const char *const texts[] = {SIGHTS(SIGHT_TEXT)};
#undef SIGHT_TEXT
    unsigned missing = 0;

    printf("%.1f hours simulated\n", (double)v->simulated_ms / 3600000);
    for (unsigned i = 0; i < SIGHT_KINDS; i++) {
        printf("%12llu %s\n", (unsigned long long)v->n[i], texts[i]);
        missing += v->n[i] == 0;
    }
    printf("outcomes:");
    for (unsigned i = 0; i < FAILURE_KINDS; i++) {
        printf(" %s %llu", failure_row((enum failure)i)->label, (unsigned long long)v->outcomes[i]);
        missing += v->outcomes[i] == 0 && !is_elsewhere((enum failure)i);
    }
    printf("\nfaults met:");
    for (unsigned i = 0; i < FAULT_KINDS; i++) {
        printf(" %s %llu", fault_rows[i].name, (unsigned long long)v->faults[i]);
        missing += v->faults[i] == 0;
    }
    printf("\n");
    return missing;
}

static int run_many(uint64_t from, uint64_t n)
{
    struct sights sights = {.simulated_ms = 0}, twice = {.simulated_ms = 0};
    unsigned missing;

    for (uint64_t seed = from; seed < from + n; seed++) {
        uint64_t hash = run_seed(seed, false, &sights);

        if (seed < from + TWICE && run_seed(seed, false, &twice) != hash) {
            fprintf(stderr, "sim: seed %llu gives another world the second time\n",
                    (unsigned long long)seed);
            return 1;
        }
    }
    printf("%llu worlds from seed %llu on, ", (unsigned long long)n, (unsigned long long)from);
    missing = print_sights(&sights);
    if (n >= MANY && missing > 0) {
        fprintf(stderr, "sim: %u things were never seen\n", missing);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t from = 1, n = 0, seed = 0;
    bool one = false, trace = false;
    struct sights sights = {.simulated_ms = 0};

    log_set_level(LOG_ERROR); /* thousands of breakers open, and each would say so */
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;

        if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
        } else if (value && strcmp(argv[i], "--seeds") == 0) {
            n = strtoull(argv[++i], NULL, 10);
        } else if (value && strcmp(argv[i], "--from") == 0) {
            from = strtoull(argv[++i], NULL, 10);
        } else if (value && strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[++i], NULL, 10);
            one = true;
        } else {
            fputs(usage, stderr);
            return 64;
        }
    }
    if (one) {
        printf("seed %llu: trace hash %016llx\n", (unsigned long long)seed,
               (unsigned long long)run_seed(seed, trace, &sights));
        return 0;
    }
    if (n == 0) {
        fputs(usage, stderr);
        return 64;
    }
    return run_many(from, n);
}
