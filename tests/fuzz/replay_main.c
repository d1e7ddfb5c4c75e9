/* replay_main.c - a fuzz target as an ordinary test, where there is no libFuzzer.
 *
 *     NAME_fuzz FOLDER [MUTATIONS [SEED]]
 *
 * Runs the target over an empty input, over every file of the corpus folder, and then over inputs
 * mutated from them: 20,000 unless told otherwise, fewer where that takes more than some seconds.
 * The same files and seed give the same inputs in the same order. Each input stands in memory of
 * exactly its size, so that AddressSanitizer sees a read behind its end.
 *
 * A target that finds something ends the process; the input is left in the file crash-input, which
 * a folder of its own or libFuzzer can run again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/mem.h"
#include "proxy/base/rng.h"
#include "proxy/base/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUTATIONS     20000
#define MAX_FILES     4096
#define MAX_BYTES     (64 * 1024) /* of a mutated input; a corpus file is cut to it */
#define TIME_LIMIT_US 5000000

static struct span files[MAX_FILES];
static size_t file_count;

static char input[MAX_BYTES]; /* the mutation being made */
static size_t input_size;

static struct span running;

/* ---- running ---- */

static void keep_input(void)
{
    static const char said[] = "input kept in crash-input\n";
    int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (fd >= 0 && write(fd, running.p, running.n) == (ssize_t)running.n)
        if (write(STDERR_FILENO, said, sizeof(said) - 1) < 0)
            _exit(1);
}

static void on_abort(int sig)
{
    keep_input();
    signal(sig, SIG_DFL);
    raise(sig);
}

/* Present in builds with a sanitizer, whose reports end the process without a signal. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void run(struct span s)
{
    char *copy = mem_alloc(s.n);

    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    running = (struct span){copy, s.n};
    LLVMFuzzerTestOneInput((const uint8_t *)copy, s.n);
    free(copy);
}

/* ---- the corpus ---- */

static bool read_file(const char *path, struct span *out)
{
    FILE *f = fopen(path, "rbe");
    char *text;
    long size;
    bool ok;

    if (f == NULL)
        return false;
    ok = fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0;
    if (ok) {
        text = mem_alloc((size_t)size);
        *out = (struct span){text, fread(text, 1, (size_t)size, f)};
        ok = out->n == (size_t)size;
    }
    fclose(f);
    return ok;
}

static bool read_corpus(const char *folder)
{
    struct dirent **names;
    int n = scandir(folder, &names, NULL, alphasort); /* sorted: the same run everywhere */
    bool ok = n >= 0;

    if (!ok)
        fprintf(stderr, "%s: %s\n", folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        char path[4096];

        snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && ok && file_count < MAX_FILES) {
            ok = read_file(path, &files[file_count++]);
            if (!ok)
                fprintf(stderr, "%s: cannot be read\n", path);
        }
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    if (ok && file_count == 0)
        fprintf(stderr, "%s: no corpus files there\n", folder);
    return ok && file_count > 0;
}

/* ---- mutations ---- */

static size_t below(struct rng *r, size_t limit)
{
    return (size_t)(rng_next(r) % limit);
}

static void cut(size_t at, size_t n)
{
    memmove(input + at, input + at + n, input_size - at - n);
    input_size -= n;
}

static void insert(size_t at, const char *p, size_t n)
{
    if (n > MAX_BYTES - input_size)
        return;
    memmove(input + at + n, input + at, input_size - at);
    memcpy(input + at, p, n);
    input_size += n;
}

/* Length of a change: mostly a few bytes, sometimes up to `limit`. */
static size_t some_length(struct rng *r, size_t limit)
{
    size_t n = 1 + (below(r, 4) == 0 ? below(r, limit) : below(r, 8));

    return n < limit ? n : limit;
}

/* Keeps a start of the input and goes on with the end of another file. */
static void join(struct rng *r)
{
    struct span other = files[below(r, file_count)];
    size_t from = below(r, other.n + 1);

    input_size = below(r, input_size + 1);
    insert(input_size, other.p + from, other.n - from);
}

static void mutate(struct rng *r)
{
    size_t at = below(r, input_size + 1), rest = input_size - at;
    char bytes[64], byte = (char)rng_next(r);
    size_t n;

    if (rest == 0) {
        insert(at, &byte, 1);
        return;
    }
    switch (below(r, 6)) {
    case 0:
        input[at] ^= (char)(1 << below(r, 8));
        break;
    case 1:
        input[at] = byte;
        break;
    case 2:
        insert(at, &byte, 1);
        break;
    case 3:
        cut(at, some_length(r, rest));
        break;
    case 4: /* a piece once more, somewhere */
        n = some_length(r, rest < sizeof(bytes) ? rest : sizeof(bytes));
        memcpy(bytes, input + at, n);
        insert(below(r, input_size + 1), bytes, n);
        break;
    default:
        join(r);
        break;
    }
}

static void make_input(struct rng *r)
{
    struct span from = files[below(r, file_count)];

    input_size = 0;
    insert(0, from.p, from.n < MAX_BYTES ? from.n : MAX_BYTES);
    for (size_t left = 1 + below(r, 6); left > 0; left--)
        mutate(r);
}

int main(int argc, char **argv)
{
    size_t wanted = argc > 2 ? strtoul(argv[2], NULL, 10) : MUTATIONS, done = 0;
    struct rng r = {argc > 3 ? strtoull(argv[3], NULL, 10) : 1};
    uint64_t stop_us;

    if (argc < 2) {
        fprintf(stderr, "usage: %s FOLDER [MUTATIONS [SEED]]\n", argv[0]);
        return 64;
    }
    if (!read_corpus(argv[1]))
        return 1;
    signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(keep_input);

    run(SPAN(""));
    for (size_t i = 0; i < file_count; i++)
        run(files[i]);
    for (stop_us = clock_us() + TIME_LIMIT_US; done < wanted && clock_us() < stop_us; done++) {
        make_input(&r);
        run((struct span){input, input_size});
    }
    printf("%zu corpus files and %zu mutations ran\n", file_count, done);
    for (size_t i = 0; i < file_count; i++)
        free((char *)files[i].p);
    return 0;
}
