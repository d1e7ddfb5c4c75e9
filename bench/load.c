/* load.c - load client of the benchmark: asks, checks every answer, reads the proxy's CPU clock.
 *
 *     load [options] PORT       asks 127.0.0.1:PORT for chat completions
 *       -c N      connections, each with one request at a time             1
 *       -t SEC    length of the measuring window                           2
 *       -n N      or: the window ends after so many answers                none
 *       -w SEC    warm-up before the window                                0.5
 *       -b BYTES  size of the request's body; from 16 KB on an agent's      1024
 *       -e N      ask for streams of N words; without it for unary answers
 *       -g US     gap between the words of a stream                        0
 *       -u SEC    time over which the connections begin to ask             0, or one gap
 *       -p PIDS   processes to measure, separated by commas
 *       -l        loose: the answer may be written anew, only its text must be the provider's
 *                 (for translations, and for gateways that do)
 *       -H LINE   one more line in the request's head; may be repeated
 *
 * It goes through three phases. WARM fills pools and caches and opens all streams; WINDOW is what
 * is counted; in DRAIN no new request starts and those under way must still end well. CPU time and
 * counters are read at the same two moments, the edges of the window, so what happens outside it
 * costs nobody anything. Every answer is checked, in all three phases: status 200, the expected
 * bytes or every word of the stream in its order, one end. A wrong one is counted and described on
 * stderr, and the exit status is 1.
 *
 * One line on stdout, key=value:
 *     mode conns seconds answers events  answers are those that ended in the window, events all
 *                                        `data:` events that came in it
 *     wrong reconnects rate              rate: answers, or events of streams, a second
 *     p50_us p99_us                      unary: from the request to the whole answer;
 *                                        streams: from sending a word to reading it
 *     cpu_us cpu_us_per_answer cpu_us_per_event rss_kib
 *                                        of the processes of -p together, all their threads
 */
#define _GNU_SOURCE
#include "bench/tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define S UINT64_C(1000000000) /* ns */

enum {
    READ_BYTES = 65536,
    AGENT_BYTES = 16384, /* from this size on a request is an agent's */
    KEPT_BYTES = 4096,   /* of a line of an event stream, or of a unary answer's body */
    MAX_CONNS = 20000,
    MAX_PIDS = 64,
    MAX_SAMPLES = 4000000, /* times beyond these are not kept */
    DRAIN_EXTRA_S = 10,    /* beyond the length of a stream */
    PATIENCE_S = 10,       /* beyond warm-up and window, where they must be longer */
    MAX_TOLD = 5,          /* wrong answers that are described */
    WRONG_ENOUGH = 1000,   /* and that end the run at once */
    STREAM_OTHERS = 2,     /* a stream's data events that hold no word: role and finish */
};

struct options {
    unsigned conns, words;
    uint64_t gap_us, ramp_ns, warm_ns, window_ns;
    uint64_t answers; /* after which the window ends; 0: by its time alone */
    size_t body_bytes;
    char *head_lines; /* each with its line end */
    uint16_t port;
    bool loose;
    pid_t pids[MAX_PIDS];
    unsigned pid_count;
};

enum phase { WARM, WINDOW, DRAIN };

struct conn {
    int fd;            /* -1: not opened yet, or closed for good */
    bool busy;         /* a request is under way */
    bool heard;        /* a word has come in whichever answer */
    uint64_t asked_ns; /* when it started */
    size_t sent;       /* bytes of it */
    struct message m;

    /* What came of the answer so far. */
    size_t body_len;
    bool differs;                 /* a unary body is not what the provider wrote, or too long */
    unsigned words, others;       /* events with the next word, and all others but [DONE] */
    bool finished, done, overrun; /* the finish event; [DONE]; data after [DONE] */
    size_t kept_len;
    char kept[KEPT_BYTES]; /* the line of a stream so far, or the body of a loose answer */
};

static struct options opt = {
    .conns = 1, .window_ns = 2 * S, .warm_ns = S / 2, .body_bytes = 1024, .head_lines = ""};
static struct conn *conns;
static char *request;
static size_t request_len;
static int epoll_fd;
static enum phase phase;
static uint64_t started_ns;
static uint64_t now; /* ns; read after every wait and before every look at an answer */

/* Totals: `wrong` and `reconnects` of the whole run, the others of the window. */
static uint64_t wrong, reconnects, answers, events;
static unsigned busy_count;
static uint64_t *samples; /* ns */
static size_t sample_count;

/* What an agent says of its tools, in every request. */
static void write_tools(FILE *f)
{
    static const char *const names[] = {"read_file",   "write_file",  "list_folder", "search_text",
                                        "run_command", "apply_patch", "open_url",    "ask_user",
                                        "write_plan",  "run_tests",   "show_diff",   "find_symbol"};
    const size_t count = sizeof(names) / sizeof(*names);

    fputs("\"tools\":[", f);
    for (size_t i = 0; i < count; i++)
        fprintf(f,
                "%s{\"type\":\"function\",\"function\":{\"name\":\"%s\",\"description\":"
                "\"Works on the project's files. Paths are relative; \\\"..\\\" is refused.\\n"
                "Returns text of at most 30,000 characters.\",\"parameters\":{\"type\":\"object\","
                "\"properties\":{\"path\":{\"type\":\"string\",\"description\":\"What to act on\"},"
                "\"first\":{\"type\":\"integer\",\"minimum\":1},\"last\":{\"type\":\"integer\"},"
                "\"mode\":{\"type\":\"string\",\"enum\":[\"text\",\"hex\"]}},"
                "\"required\":[\"path\"],\"additionalProperties\":false}}}",
                i > 0 ? "," : "", names[i]);
    fputs("],\"tool_choice\":\"auto\",", f);
}

/* One turn of an agent: what it says, the tool it calls, what that returned. */
static void write_agent_turn(FILE *f, unsigned turn)
{
    fprintf(f,
            "{\"role\":\"assistant\",\"content\":\"I look at part %u \\u2014 \\\"tide_%u.c\\\".\","
            "\"tool_calls\":[{\"id\":\"call_bench%06u\",\"type\":\"function\",\"function\":"
            "{\"name\":\"read_file\",\"arguments\":\"{\\\"path\\\":\\\"src/tide_%u.c\\\","
            "\\\"first\\\":1,\\\"last\\\":%u}\"}}]},"
            "{\"role\":\"tool\",\"tool_call_id\":\"call_bench%06u\",\"content\":\"",
            turn, turn, turn, turn, 40 + turn, turn);
    for (unsigned line = 1; line <= 40; line++)
        fprintf(f, "%4u\\tif (level[%u] > \\\"high\\\"[0]) /* of station %u */\\n", line, line * 7,
                turn);
    fputs("\"},", f);
}

static void write_plain_turn(FILE *f)
{
    fputs("{\"role\":\"user\",\"content\":\"Read src/tide.c and tell me why it fails.\"},"
          "{\"role\":\"assistant\",\"content\":\"It says:\\n\\tif (level > \\\"high\\\") {\\n\\t\\t"
          "return -1;\\n\\t}\\nA number is compared with a text \\u2014 that cannot work.\\n\"},",
          f);
}

/* A conversation: `size` bytes of JSON, the wishes in its last message. */
static char *write_body(size_t size)
{
    const bool agent = size >= AGENT_BYTES;
    const long turn_room = agent ? 3072 : 256; /* no turn is longer */
    char end[96], *body = NULL;
    size_t len;
    FILE *f = open_memstream(&body, &len);
    int n;

    if (f == NULL)
        die("out of memory");
    n = snprintf(end, sizeof(end), " sim:events=%u,gap_us=%llu;\"}]}",
                 opt.words > 0 ? opt.words : 1, (unsigned long long)opt.gap_us);
    fprintf(f, "{\"model\":\"" SIM_MODEL "\",\"temperature\":0.2,\"max_tokens\":512,%s",
            opt.words > 0 ? "\"stream\":true," : "");
    if (agent)
        write_tools(f);
    fputs("\"messages\":[{\"role\":\"system\",\"content\":\"You answer briefly.\"},", f);
    if (agent)
        fputs("{\"role\":\"user\",\"content\":\"Find out why the tide is late.\"},", f);
    for (unsigned turn = 0; ftell(f) + turn_room + 64 < (long)size; turn++) {
        if (agent)
            write_agent_turn(f, turn);
        else
            write_plain_turn(f);
    }
    fputs("{\"role\":\"user\",\"content\":\"", f);
    if (ftell(f) + n > (long)size)
        die("-b: %zu bytes are too few, %ld are needed", size, ftell(f) + n);
    while (ftell(f) + n < (long)size)
        fputc('.', f);
    fputs(end, f);
    if (fclose(f) != 0 || len != size)
        die("the request's body has %zu bytes instead of %zu", len, size);
    return body;
}

static void write_request(void)
{
    char *body = write_body(opt.body_bytes);
    int n = asprintf(&request,
                     "POST /v1/chat/completions HTTP/1.1\r\n"
                     "Host: 127.0.0.1:%u\r\n"
                     "Accept: %s\r\n"
                     "Content-Type: application/json\r\n"
                     "User-Agent: OpenAI/Python 1.99.0\r\n"
                     "X-Stainless-Lang: python\r\n"
                     "X-Stainless-Package-Version: 1.99.0\r\n"
                     "X-Stainless-OS: Linux\r\n"
                     "X-Stainless-Arch: x64\r\n"
                     "X-Stainless-Retry-Count: 0\r\n"
                     "Authorization: Bearer bench-key-of-the-client\r\n"
                     "%sContent-Length: %zu\r\n\r\n%s",
                     opt.port, opt.words > 0 ? "text/event-stream" : "application/json",
                     opt.head_lines, opt.body_bytes, body);

    if (n < 0)
        die("out of memory");
    request_len = (size_t)n;
    free(body);
}

static void keep_sample(uint64_t ns)
{
    if (phase == WINDOW && sample_count < MAX_SAMPLES)
        samples[sample_count++] = ns;
}

/* One line of a stream, without its line end. */
static void read_line(struct conn *c, const char *p, size_t n)
{
    char mark[16], sent[17];
    size_t mark_len;
    const char *at;

    if (n < 5 || memcmp(p, "data:", 5) != 0)
        return; /* an empty line, a comment, an event's name */
    if (phase == WINDOW)
        events++;
    if (c->done) {
        c->overrun = true;
        return;
    }
    if (memmem(p, n, "[DONE]", 6) != NULL) {
        c->done = true;
        return;
    }
    mark_len = (size_t)snprintf(mark, sizeof(mark), WORD_MARK, c->words);
    at = memmem(p, n, mark, mark_len);
    if (at == NULL || (size_t)(p + n - at) < WORD_BYTES) {
        c->finished |= memmem(p, n, "\"stop\"", 6) != NULL;
        c->others++;
        return;
    }
    c->words++;
    c->heard = true;
    memcpy(sent, at + mark_len, 16);
    sent[16] = '\0';
    keep_sample(now - strtoull(sent, NULL, 10) * 1000);
}

static void read_stream(struct conn *c, const char *p, size_t n)
{
    while (n > 0) {
        const char *end = memchr(p, '\n', n);
        size_t take = end != NULL ? (size_t)(end - p) : n;

        if (end != NULL && c->kept_len == 0) {
            read_line(c, p, take);
        } else if (c->kept_len + take > KEPT_BYTES) {
            c->overrun = true;
            c->kept_len = 0;
        } else {
            memcpy(c->kept + c->kept_len, p, take);
            c->kept_len += take;
            if (end != NULL) {
                read_line(c, c->kept, c->kept_len);
                c->kept_len = 0;
            }
        }
        p += take + (end != NULL);
        n -= take + (end != NULL);
    }
}

static void read_body(void *ctx, const char *p, size_t n)
{
    struct conn *c = ctx;

    if (opt.words > 0 && c->m.status == 200) {
        read_stream(c, p, n);
    } else if (opt.loose && c->kept_len + n <= KEPT_BYTES) {
        memcpy(c->kept + c->kept_len, p, n);
        c->kept_len += n;
    } else if (c->body_len + n > ANSWER_BYTES || memcmp(answer_body() + c->body_len, p, n) != 0) {
        c->differs = true;
    }
    c->body_len += n;
}

/* What is wrong with the answer, or NULL. */
static const char *judge(const struct conn *c)
{
    if (c->m.state == MESSAGE_BAD)
        return "its framing is broken";
    if (c->m.state == MESSAGE_HEAD)
        return "the connection was closed before its head had come";
    if (c->m.status != 200)
        return "its status is not 200";
    if (c->m.state != MESSAGE_DONE)
        return "it is cut off";
    if (opt.words == 0 && opt.loose)
        return memmem(c->kept, c->kept_len, answer_text(), strlen(answer_text())) == NULL ||
                       memmem(c->kept, c->kept_len, "\"stop\"", 6) == NULL
                   ? "its text or its end is not the provider's"
                   : NULL;
    if (opt.words == 0 && (c->differs || c->body_len != ANSWER_BYTES))
        return "its body is not what the provider wrote";
    if (opt.words == 0)
        return NULL;
    if (c->words != opt.words)
        return "words are missing or out of order";
    if (!c->done)
        return "the stream has no [DONE]";
    if (c->overrun)
        return "there is data after [DONE], or a line too long";
    if (!c->finished || (!opt.loose && c->others != STREAM_OTHERS))
        return "its events are not those the provider wrote";
    return NULL;
}

static void tell_wrong(const struct conn *c, const char *why)
{
    const char *line_end = memchr(c->m.head, '\r', c->m.head_len);

    if (++wrong == WRONG_ENOUGH)
        die("%d answers were wrong, this measures nothing", WRONG_ENOUGH);
    if (wrong > MAX_TOLD)
        return;
    fprintf(stderr, "load: wrong answer: %s (\"%.*s\", body %zu bytes", why,
            line_end != NULL ? (int)(line_end - c->m.head) : 0, c->m.head, c->body_len);
    if (opt.words > 0)
        fprintf(stderr, ", %u of %u words, %u other events", c->words, opt.words, c->others);
    fprintf(stderr, ")\n");
}

static void conn_open(struct conn *c)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    int on = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        die("127.0.0.1:%u: %s", opt.port, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

/* Sends what it can; an error shows when the answer is read. */
static void conn_send(struct conn *c)
{
    while (c->sent < request_len) {
        ssize_t n = send(c->fd, request + c->sent, request_len - c->sent, MSG_NOSIGNAL);

        if (n < 0)
            return;
        c->sent += (size_t)n;
    }
}

static void ask(struct conn *c)
{
    c->busy = true;
    busy_count++;
    c->asked_ns = now;
    c->sent = 0;
    message_start(&c->m, true);
    c->body_len = c->kept_len = 0;
    c->words = c->others = 0;
    c->differs = c->finished = c->done = c->overrun = false;
    conn_send(c);
}

/* The answer has ended, well or not: judge it, and ask again unless the run is ending. */
static void conclude(struct conn *c, bool lost)
{
    const char *why = judge(c);

    if (why != NULL) {
        tell_wrong(c, why);
    } else if (phase == WINDOW) {
        answers++;
        if (opt.words == 0)
            keep_sample(now - c->asked_ns);
    }
    c->busy = false;
    busy_count--;
    if (lost || why != NULL || c->m.close) {
        close(c->fd);
        c->fd = -1;
    }
    if (phase == DRAIN)
        return;
    if (c->fd < 0) {
        reconnects++;
        conn_open(c);
    }
    ask(c);
}

/* Reads what is there; `to_end`: epoll has said that the peer has closed. */
static void conn_read(struct conn *c, bool to_end)
{
    static char buf[READ_BYTES];
    ssize_t n;

    do {
        n = recv(c->fd, buf, sizeof(buf), 0);
        if (n < 0 && errno == EAGAIN)
            return;
        now = now_ns();
        if (n <= 0) {
            if (c->busy) {
                conclude(c, true);
            } else {
                close(c->fd);
                c->fd = -1;
            }
            return;
        }
        if (!c->busy || message_feed(&c->m, buf, (size_t)n, read_body, c) < (size_t)n) {
            c->m.state = MESSAGE_BAD; /* bytes that no request has asked for */
            if (!c->busy)
                tell_wrong(c, "bytes came after its end");
        }
        if (c->busy && (c->m.state == MESSAGE_DONE || c->m.state == MESSAGE_BAD)) {
            conclude(c, false);
            return; /* a new request is out, maybe on a new socket: epoll will tell */
        }
    } while (n == sizeof(buf) || to_end);
}

/* What the measured processes have cost since they started: all threads, also those that ended. */
static double cpu_us(void)
{
    double sum = 0;

    for (unsigned i = 0; i < opt.pid_count; i++) {
        struct timespec t;
        clockid_t clock;

        if (clock_getcpuclockid(opt.pids[i], &clock) != 0 || clock_gettime(clock, &t) < 0)
            die("process %d cannot be measured: it is gone", (int)opt.pids[i]);
        sum += (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
    }
    return sum;
}

static uint64_t rss_kib(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < opt.pid_count; i++) {
        unsigned long long pages;
        char path[48];
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/statm", (int)opt.pids[i]);
        f = fopen(path, "re");
        if (f == NULL || fscanf(f, "%*u %llu", &pages) != 1)
            die("%s: cannot be read", path);
        fclose(f);
        sum += pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
    }
    return sum;
}

/* Everything that is read at the edges of the window. */
struct edges {
    uint64_t from_ns, to_ns;
    double cpu_from, cpu_to;
    uint64_t rss_kib; /* at its end, with all connections open */
};

/* Streams that are paced must all have shown a word before the window opens, or they would be
 * measured while they connect. */
static bool streams_run(void)
{
    unsigned silent = 0;

    if (opt.gap_us == 0)
        return true;
    for (unsigned i = 0; i < opt.conns; i++)
        silent += !conns[i].heard;
    if (silent > 0 && now > started_ns + opt.warm_ns + PATIENCE_S * S)
        die("%u of %u streams have not begun: a longer -w is needed", silent, opt.conns);
    return silent == 0;
}

/* A machine that stands still must not make the window an empty one. */
static bool window_is_over(uint64_t from_ns)
{
    if (opt.answers > 0 && answers >= opt.answers)
        return true;
    return now >= from_ns + opt.window_ns &&
           (answers + events > 0 || now > from_ns + opt.window_ns + PATIENCE_S * S);
}

/* Goes to the next phase when it is time. Returns when to look again. */
static uint64_t step_phase(struct edges *e)
{
    if (phase == WARM && now >= started_ns + opt.warm_ns && streams_run()) {
        phase = WINDOW;
        e->cpu_from = cpu_us();
        e->from_ns = now = now_ns();
    }
    if (phase == WINDOW && window_is_over(e->from_ns)) {
        e->cpu_to = cpu_us();
        e->to_ns = now = now_ns();
        e->rss_kib = rss_kib();
        phase = DRAIN;
    }
    if (phase == WARM)
        return started_ns + opt.warm_ns;
    if (phase == WINDOW)
        return e->from_ns + opt.window_ns;
    return e->to_ns + opt.words * opt.gap_us * 1000 + DRAIN_EXTRA_S * S;
}

/* They begin one after another; streams over a whole number of gaps, so that they do not beat in
 * step. */
static uint64_t start_at(unsigned i)
{
    return started_ns + opt.ramp_ns * i / opt.conns;
}

static void run(struct edges *e)
{
    struct epoll_event evs[256];
    uint64_t look;
    unsigned started = 0;

    started_ns = now = now_ns();
    while (phase != DRAIN || busy_count > 0) {
        int n;

        for (; started < opt.conns && phase != DRAIN && start_at(started) <= now; started++) {
            conn_open(&conns[started]);
            ask(&conns[started]);
        }
        look = step_phase(e);
        if (phase == DRAIN && now >= look)
            break;
        if (started < opt.conns && start_at(started) < look)
            look = start_at(started);
        n = epoll_wait(epoll_fd, evs, 256, look > now ? (int)((look - now + 999999) / 1000000) : 1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait: %s", strerror(errno));
        now = now_ns();
        for (int i = 0; i < n; i++) {
            struct conn *c = evs[i].data.ptr;

            if (c->fd < 0)
                continue;
            if (c->busy)
                conn_send(c);
            if (evs[i].events & ~(uint32_t)EPOLLOUT)
                conn_read(c, (evs[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
        }
    }
    for (unsigned i = 0; i < opt.conns; i++)
        if (conns[i].busy)
            tell_wrong(&conns[i], "it did not end in time");
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void print_results(const struct edges *e)
{
    double seconds = (double)(e->to_ns - e->from_ns) / 1e9, cpu = e->cpu_to - e->cpu_from;
    uint64_t counted = opt.words > 0 ? events : answers;

    qsort(samples, sample_count, sizeof(*samples), by_size);
    printf("mode=%s conns=%u seconds=%.3f answers=%llu events=%llu wrong=%llu reconnects=%llu "
           "rate=%.0f",
           opt.words > 0 ? "stream" : "unary", opt.conns, seconds, (unsigned long long)answers,
           (unsigned long long)events, (unsigned long long)wrong, (unsigned long long)reconnects,
           (double)counted / seconds);
    if (sample_count > 0)
        printf(" p50_us=%.1f p99_us=%.1f", (double)samples[sample_count / 2] / 1e3,
               (double)samples[sample_count * 99 / 100] / 1e3);
    if (opt.pid_count > 0) {
        printf(" cpu_us=%.0f", cpu);
        if (answers > 0)
            printf(" cpu_us_per_answer=%.3f", cpu / (double)answers);
        if (events > 0)
            printf(" cpu_us_per_event=%.3f", cpu / (double)events);
        printf(" rss_kib=%llu", (unsigned long long)e->rss_kib);
    }
    printf("\n");
}

static void read_pids(const char *text)
{
    char *copy = strdup(text), *rest = copy;

    for (char *pid; copy != NULL && (pid = strsep(&rest, ",")) != NULL;) {
        if (opt.pid_count == MAX_PIDS)
            die("-p: more than %d processes", MAX_PIDS);
        opt.pids[opt.pid_count++] = (pid_t)number_arg("-p", pid, INT32_MAX);
    }
    free(copy);
}

static uint64_t seconds_arg(const char *what, const char *text)
{
    char *end;
    double s = strtod(text, &end);

    if (end == text || *end != '\0' || !(s >= 0 && s <= 600))
        die("%s: \"%s\" is not a number of seconds from 0 to 600", what, text);
    return (uint64_t)(s * 1e9);
}

static void add_head_line(const char *line)
{
    char *lines;

    if (asprintf(&lines, "%s%s\r\n", opt.head_lines, line) < 0)
        die("out of memory");
    opt.head_lines = lines;
}

static void round_ramp(void)
{
    const uint64_t gap_ns = opt.gap_us * 1000;

    if (gap_ns > 0)
        opt.ramp_ns = opt.ramp_ns <= gap_ns ? gap_ns : opt.ramp_ns / gap_ns * gap_ns;
}

static void read_options(int argc, char **argv)
{
    static const char usage[] = "usage: load [-c conns] [-t seconds | -n answers] [-w seconds] "
                                "[-b bytes] [-e words] [-g gap_us] [-u seconds] [-p pid,...] [-l] "
                                "[-H line] PORT";

    for (int o; (o = getopt(argc, argv, "c:t:n:w:b:e:g:u:p:lH:")) >= 0;) {
        switch (o) {
        case 'c':
            opt.conns = (unsigned)number_arg("-c", optarg, MAX_CONNS);
            break;
        case 't':
            opt.window_ns = seconds_arg("-t", optarg);
            break;
        case 'n':
            opt.answers = number_arg("-n", optarg, UINT32_MAX);
            break;
        case 'w':
            opt.warm_ns = seconds_arg("-w", optarg);
            break;
        case 'b':
            opt.body_bytes = number_arg("-b", optarg, 1 << 26);
            break;
        case 'e':
            opt.words = (unsigned)number_arg("-e", optarg, MAX_EVENTS);
            break;
        case 'g':
            opt.gap_us = number_arg("-g", optarg, 60000000);
            break;
        case 'u':
            opt.ramp_ns = seconds_arg("-u", optarg);
            break;
        case 'H':
            add_head_line(optarg);
            break;
        case 'p':
            read_pids(optarg);
            break;
        case 'l':
            opt.loose = true;
            break;
        default:
            die("%s", usage);
        }
    }
    if (optind != argc - 1 || opt.conns == 0)
        die("%s", usage);
    opt.port = (uint16_t)number_arg("PORT", argv[optind], 65535);
    round_ramp();
}

int main(int argc, char **argv)
{
    struct edges edges = {0};

    read_options(argc, argv);
    write_request();
    conns = calloc(opt.conns, sizeof(*conns));
    samples = malloc(MAX_SAMPLES * sizeof(*samples));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (conns == NULL || samples == NULL || epoll_fd < 0)
        die("cannot start: %s", strerror(errno));
    for (unsigned i = 0; i < opt.conns; i++)
        conns[i].fd = -1;
    run(&edges);
    if (answers == 0 && events == 0)
        die("nothing came in the window");
    print_results(&edges);
    return wrong > 0;
}
