#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/address.h"
#include "config/config.h"
#include "config/options.h"
#include "config/substitute.h"
#include "config/value.h"
#include "proxy/base/mem.h"
#include "proxy/base/strbuf.h"
#include "tests/unit/check.h"
#include "tests/unit/fake_types.h"

/* The least that makes a configuration, to stand before or behind what a test is about. */
#define PROVIDERS "providers: {p: {type: scripted, text: hello}}\n"
#define ROUTES    "routes: [{model: \"*\", targets: [p]}]\n"

static const char *const variables[] = {
    "OPENAI_API_KEY",         "OPENAI_BASE_URL",       "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",     "GEMINI_API_KEY",        "GEMINI_BASE_URL",
    "HOLDFAST_LISTEN",        "HOLDFAST_ADMIN",        "HOLDFAST_HOSTS",
    "HOLDFAST_TIMEOUTS_IDLE", "HOLDFAST_INSECURE",     "HOLDFAST_TLS_CERT",
    "HOLDFAST_LOG_LEVEL",     "HOLDFAST_TIMEOUT_IDLE", "HOLDFAST_CONFIG",
    "HOLDFAST_PORT",          "HOLDFAST_SERVICE_HOST", "HOLDFAST_TIMEOUTS_FIRST_TOKEN",
    "HOLDFAST_COLOUR",        "XDG_CONFIG_HOME",
};

static void clear_environment(void)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
}

static struct config *parse(const char *text)
{
    struct config *c = NULL;
    struct err e = {0};

    if (config_parse("t", text, strlen(text), &fake_types, &c, &e) < 0)
        fail_msg("%s\n%s", text, e.msg);
    return c;
}

static struct config *zero(void)
{
    struct config *c = NULL;
    struct err e = {0};

    if (config_load(NULL, &fake_types, &c, &e) < 0)
        fail_msg("%s", e.msg);
    return c;
}

static void check_refused(const char *text, const char *want)
{
    struct config *c = NULL;
    struct err e = {0};

    if (config_parse("t", text, strlen(text), &fake_types, &c, &e) == 0)
        fail_msg("accepted: %s", text);
    CHECK(c == NULL);
    if (strcmp(e.msg, want) != 0)
        fail_msg("%s\n got: %s\nwant: %s", text, e.msg, want);
}

struct bad {
    const char *text, *want;
};

static void check_all(const struct bad *rows, size_t n)
{
    clear_environment();
    for (size_t i = 0; i < n; i++)
        check_refused(rows[i].text, rows[i].want);
}

TEST(values_have_one_spelling)
{
    static const struct {
        const char *text, *want;
    } durations[] =
        {
            {"10s", "10000"},
            {"250ms", "250"},
            {"1.5m", "90000"},
            {"2h", "7200000"},
            {"0.001s", "1"},
            {"0ms", "0"},
            {"10", "has no unit; write 10s or 10000ms"},
            {"0", "has no unit; write 0s or 0ms"},
            {"1.5", "has no unit; write 1.5s"},
            {"0.0001s", "is finer than a millisecond; expected whole milliseconds"},
            {"1.0000000s", "is finer than a millisecond; expected whole milliseconds"},
            {"9999999999999h", "is too large"},
            {"-5s", "is not a duration; expected a number with ms, s, m or h, such as 10s"},
            {"5 s", "is not a duration; expected a number with ms, s, m or h, such as 10s"},
            {"5.s", "is not a duration; expected a number with ms, s, m or h, such as 10s"},
            {"5d", "is not a duration; expected a number with ms, s, m or h, such as 10s"},
            {"", "is not a duration; expected a number with ms, s, m or h, such as 10s"},
        },
      sizes[] = {
          {"1B", "1"},
          {"64KiB", "65536"},
          {"0.5MiB", "524288"},
          {"3GiB", "3221225472"},
          {"32", "has no unit; write 32MiB or 32B"},
          {"0.5B", "is not a whole number of bytes"},
          {"999999999999GiB", "is too large"},
          {"32MB", "is not a size; expected a number with B, KiB, MiB or GiB, such as 32MiB"},
      };

    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        struct err e = {0};
        uint64_t v = 0;

        if (value_duration(durations[i].text, &v, &e) == 0)
            snprintf(e.msg, sizeof(e.msg), "%llu", (unsigned long long)v);
        CHECK_STR(e.msg, durations[i].want);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct err e = {0};
        uint64_t v = 0;

        if (value_size(sizes[i].text, &v, &e) == 0)
            snprintf(e.msg, sizeof(e.msg), "%llu", (unsigned long long)v);
        CHECK_STR(e.msg, sizes[i].want);
    }
}

TEST(numbers_are_plain_decimals)
{
    static const char *const bad[] = {"",   "-1",  "+1",  " 1",    "1 ", "0x1", "1e3",
                                      "na", "nan", "inf", "1.1.1", ".5", "1,5"};
    struct err e;
    double d;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (value_number(bad[i], &d, &e) == 0)
            fail_msg("accepted: %s", bad[i]);
    CHECK(value_number("0.25", &d, &e) == 0);
    CHECK(d == 0.25);
}

TEST(values_are_shown_as_people_write_them)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } rows[] = {{0, "0s"},        {1, "1ms"},      {1500, "1500ms"}, {4000, "4s"},
                {120000, "120s"}, {3600000, "1h"}, {5400000, "90m"}, {86400000, "24h"}};
    char buf[VALUE_TEXT_MAX];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        CHECK_STR(value_show_duration(buf, rows[i].ms), rows[i].text);
    CHECK_STR(value_show_size(buf, 0), "0KiB");
    CHECK_STR(value_show_size(buf, 1 << 20), "1MiB");
    CHECK_STR(value_show_size(buf, 1025), "1025B");
}

TEST(a_quoted_value_cannot_break_a_line_or_flood_it)
{
    char buf[VALUE_QUOTE_MAX], text[300];

    CHECK_STR(value_quote(buf, "a\nb\"c\x7f"), "\"a?b?c?\"");
    memset(text, 'x', sizeof(text));
    text[299] = '\0';
    memcpy(text + 57, "\xc3\xa9", 2); /* the cut falls into this character */
    CHECK_INT(strlen(value_quote(buf, text)), 62);
    CHECK_STR(buf + 57, "x...\"");
}

TEST(hosts_are_known_by_how_far_they_reach)
{
    static const struct {
        const char *host;
        enum host_scope scope;
    } rows[] = {
        {"127.0.0.1", HOST_LOOPBACK},
        {"127.8.8.8", HOST_LOOPBACK},
        {"::1", HOST_LOOPBACK},
        {"LocalHost", HOST_LOOPBACK},
        {"::ffff:127.0.0.1", HOST_LOOPBACK},
        {"10.1.2.3", HOST_PRIVATE},
        {"172.16.0.1", HOST_PRIVATE},
        {"172.31.255.255", HOST_PRIVATE},
        {"172.32.0.1", HOST_PUBLIC},
        {"192.168.1.1", HOST_PRIVATE},
        {"fd00::1", HOST_PRIVATE},
        {"fe80::1", HOST_PUBLIC},
        {"ollama", HOST_PRIVATE},
        {"gpu.internal", HOST_PRIVATE},
        {"nas.local", HOST_PRIVATE},
        {"local", HOST_PRIVATE},
        {"evil-local.com", HOST_PUBLIC},
        {"0.0.0.0", HOST_PUBLIC},
        {"169.254.169.254", HOST_PUBLIC},
        {"api.openai.com", HOST_PUBLIC},
        {"127.1", HOST_INVALID},
        {"0x7f.1", HOST_INVALID},
        {"2130706433", HOST_INVALID},
        {"0x7f000001", HOST_INVALID},
        {"256.1.1.1", HOST_INVALID},
        {"a..b", HOST_INVALID},
        {"a.", HOST_INVALID},
        {"-a", HOST_INVALID},
        {"a b", HOST_INVALID},
        {"", HOST_INVALID},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (host_scope(span_of(rows[i].host)) != rows[i].scope)
            fail_msg("%s: %d", rows[i].host, host_scope(span_of(rows[i].host)));
}

TEST(listen_addresses_have_four_forms)
{
    static const struct {
        const char *text, *host, *path;
        uint16_t port;
        bool loopback;
    } rows[] = {
        {"127.0.0.1:8090", "127.0.0.1", NULL, 8090, true},
        {"[::1]:0", "::1", NULL, 0, true},
        {"localhost:1", "localhost", NULL, 1, true},
        {":65535", "*", NULL, 65535, false},
        {"[::]:80", "::", NULL, 80, false},
        {"gateway.example.com:80", "gateway.example.com", NULL, 80, false},
        {"unix:/run/h.sock", NULL, "/run/h.sock", 0, true},
    };
    static const struct bad bad[] = {
        {"", "has no port; expected HOST:PORT, :PORT, [IPV6]:PORT or unix:/path"},
        {"8090", "has no host; write 127.0.0.1:8090"},
        {"::1:80", "is not an address; expected HOST:PORT, :PORT, [IPV6]:PORT or unix:/path"},
        {"[::1]80", "is not an address; expected HOST:PORT, :PORT, [IPV6]:PORT or unix:/path"},
        {"[::1", "is not an address; expected HOST:PORT, :PORT, [IPV6]:PORT or unix:/path"},
        {"[127.0.0.1]:80",
         "is not an address; expected HOST:PORT, :PORT, [IPV6]:PORT or unix:/path"},
        {"[::g]:80", "has no valid host; expected HOST:PORT, :PORT, [IPV6]:PORT or unix:/path"},
        {"127.1:80", "has no valid host; expected HOST:PORT, :PORT, [IPV6]:PORT or unix:/path"},
        {"a:65536", "has a port that is not 0 to 65535"},
        {"a:", "has a port that is not 0 to 65535"},
        {"a:-1", "has a port that is not 0 to 65535"},
        {"a:80/", "has a port that is not 0 to 65535"},
        {"unix:h.sock", "needs an absolute path, such as unix:/run/holdfast.sock"},
        {"unix:", "needs an absolute path, such as unix:/run/holdfast.sock"},
    };
    struct config_listen l;
    struct err e;
    char path[200];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (config_listen_parse(rows[i].text, &l, &e) < 0)
            fail_msg("%s %s", rows[i].text, e.msg);
        CHECK_STR(l.text, rows[i].text);
        CHECK(rows[i].host == NULL ? l.host == NULL : strcmp(l.host, rows[i].host) == 0);
        CHECK(rows[i].path == NULL ? l.path == NULL : strcmp(l.path, rows[i].path) == 0);
        CHECK_INT(l.port, rows[i].port);
        CHECK(l.loopback == rows[i].loopback);
        config_listen_release(&l);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CHECK(config_listen_parse(bad[i].text, &l, &e) < 0);
        CHECK_STR(e.msg, bad[i].want);
    }
    memset(path, 'a', sizeof(path));
    memcpy(path, "unix:/", 6);
    path[5 + 108] = '\0';
    CHECK(config_listen_parse(path, &l, &e) < 0);
    CHECK_STR(e.msg, "is too long for a unix socket; at most 107 bytes");
    path[5 + 107] = '\0';
    CHECK(config_listen_parse(path, &l, &e) == 0);
    config_listen_release(&l);
}

/* --- substitution --- */

static void check_substitute(const char *text, const char *want)
{
    struct arena a;
    struct substituted s = {0};
    struct err e = {0};

    arena_init(&a);
    if (substitute(text, &a, &s, &e) < 0)
        CHECK_STR(e.msg, want);
    else
        CHECK_STR(s.text, want);
    arena_release(&a);
}

TEST(the_files_that_it_was_read_from_are_known)
{
    char path[] = "/tmp/holdfast-config-test-XXXXXX", text[300];
    int fd = mkstemp(path);
    struct config *c;

    CHECK_INT(write(fd, "sk-from-a-file-0000", 19), 19);
    close(fd);
    snprintf(text, sizeof(text),
             "providers: {a: {type: openai, api_key: \"${file:%s}\"}}\n"
             "routes: [{model: m, targets: [a]}]\n",
             path);
    c = parse(text);
    CHECK_INT(c->n_files, 1);
    CHECK_STR(c->files[0], path);
    config_free(c);
    unlink(path);
}

TEST(what_only_a_restart_changes_is_named_and_stays)
{
    static const char rest[] = "providers: {a: {type: openai, api_key: sk-0000000000}}\n"
                               "routes: [{model: m, targets: [a]}]\n";
    char text[400], names[100];
    struct config *running, *changed;

    snprintf(text, sizeof(text), "listen: [127.0.0.1:1, 127.0.0.1:2]\nworkers: 2\n%s", rest);
    running = parse(text);
    changed = parse(text);
    config_keep_fixed(running, changed, names, sizeof(names));
    CHECK_STR(names, "");
    config_free(changed);
    snprintf(text, sizeof(text), "listen: 127.0.0.1:1\nadmin: off\nworkers: 3\n%s", rest);
    changed = parse(text);
    config_keep_fixed(running, changed, names, sizeof(names));
    CHECK_STR(names, "listen, admin, workers");
    CHECK_INT(changed->workers, 2);
    config_free(changed);
    config_free(running);
}

TEST(references_are_replaced_once)
{
    setenv("CONFIG_TEST_A", "one", 1);
    setenv("CONFIG_TEST_B", "${CONFIG_TEST_A}", 1);
    setenv("CONFIG_TEST_E", "", 1);
    unsetenv("CONFIG_TEST_NO");
    check_substitute("plain $5 {x} $", "plain $5 {x} $");
    check_substitute("<${CONFIG_TEST_A}${CONFIG_TEST_A}>", "<oneone>");
    check_substitute("${CONFIG_TEST_B}", "${CONFIG_TEST_A}");
    check_substitute("${CONFIG_TEST_NO:-x:-y}", "x:-y");
    check_substitute("${CONFIG_TEST_E:-x}", "x");
    check_substitute("${CONFIG_TEST_NO:-}", "");
    check_substitute("$${CONFIG_TEST_A} ${CONFIG_TEST_A}", "${CONFIG_TEST_A} one");
    check_substitute("${CONFIG_TEST_NO}", "the environment variable CONFIG_TEST_NO is not set");
    check_substitute("${CONFIG_TEST_E}", "the environment variable CONFIG_TEST_E is empty");
    check_substitute("${CONFIG_TEST_A", "\"${\" has no closing \"}\"; write $${ for itself");
    check_substitute("${}",
                     "${...} holds \"\"; expected ${NAME}, ${NAME:-default} or ${file:/path}");
    check_substitute("${1A}",
                     "${...} holds \"1A\"; expected ${NAME}, ${NAME:-default} or ${file:/path}");
    check_substitute("${A-b}",
                     "${...} holds \"A-b\"; expected ${NAME}, ${NAME:-default} or ${file:/path}");
}

static char *write_temporary(const char *text, size_t n, mode_t mode)
{
    char *path = mem_strdup("/tmp/holdfast-config-test-XXXXXX");
    int fd = mkstemp(path);

    CHECK(fd >= 0);
    CHECK(write(fd, text, n) == (ssize_t)n);
    CHECK(fchmod(fd, mode) == 0);
    close(fd);
    return path;
}

TEST(files_are_put_in_without_their_last_line_end)
{
    static const struct {
        const char *content;
        size_t n;
        const char *want; /* %s: the path */
    } rows[] = {
        {"key-1\r\n", 7, "<key-1>"},
        {"a\nb\n\n", 5, "<a\nb>"},
        {"\n", 1, "the file: \"%s\" is empty"},
        {"a\0b", 3, "the file: \"%s\" holds a NUL byte"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *path = write_temporary(rows[i].content, rows[i].n, 0600);
        char text[128], want[256];

        snprintf(text, sizeof(text), "<${file:%s}>", path);
        if (strchr(rows[i].want, '%') != NULL)
            snprintf(want, sizeof(want), "the file: \"%s\" %s", path,
                     strstr(rows[i].want, "%s\"") + 4);
        else
            snprintf(want, sizeof(want), "%s", rows[i].want);
        check_substitute(text, want);
        unlink(path);
        free(path);
    }
    check_substitute("${file:relative}",
                     "the file \"relative\" has no absolute path; write ${file:/path}");
    check_substitute("${file:/nowhere/x}",
                     "cannot open the file \"/nowhere/x\": No such file or directory");
    check_substitute("${file:/}", "the file: \"/\" is not a regular file");
    check_substitute("${file:/dev/null}", "the file: \"/dev/null\" is not a regular file");
}

TEST(a_value_that_was_put_in_cannot_bring_yaml_and_is_not_shown)
{
    struct config *c;

    clear_environment();
    setenv("CONFIG_TEST_A", "hello}, q: {type: scripted", 1);
    c = parse("providers: {p: {type: scripted, text: \"${CONFIG_TEST_A}\"}}\n" ROUTES);
    CHECK_INT(c->n_providers, 1);
    CHECK_STR(c->providers[0].text, "hello}, q: {type: scripted");
    config_free(c);
    check_refused("timeouts: {idle: \"${CONFIG_TEST_A}\"}",
                  "t:1:18: timeouts.idle: \"${CONFIG_TEST_A}\": what it stands for is not a "
                  "duration; expected a number with ms, s, m or h, such as 10s");
    check_refused("timeouts: {idle: \"${CONFIG_TEST_NO}\"}",
                  "t:1:18: timeouts.idle: the environment variable CONFIG_TEST_NO is not set");
}

/* --- what a file may say --- */

TEST(defaults_apply_where_nothing_is_said)
{
    struct config *c;

    clear_environment();
    c = parse(PROVIDERS ROUTES);
    CHECK_STR(c->source, "t");
    CHECK_INT(c->n_listens, 1);
    CHECK_STR(c->listens[0].text, "localhost:8090");
    CHECK_STR(c->admin.text, "127.0.0.1:8091");
    CHECK_INT(c->timeouts.connect, 4000);
    CHECK_INT(c->timeouts.tls, 6000);
    CHECK_INT(c->timeouts.first_token, 30000);
    CHECK_INT(c->timeouts.first_token_reasoning, 120000);
    CHECK_INT(c->timeouts.answer, 120000);
    CHECK_INT(c->timeouts.idle, 20000);
    CHECK_INT(c->timeouts.idle_tools, 180000);
    CHECK_INT(c->timeouts.total, 600000);
    CHECK_INT(c->failover.max_attempts, 4);
    CHECK_INT(c->failover.per_target, 2);
    CHECK_INT(c->breaker.consecutive, 5);
    CHECK_INT(c->breaker.min_calls, 10);
    CHECK(c->breaker.failure_rate == 0.5);
    CHECK_INT(c->breaker.window, 10000);
    CHECK_INT(c->breaker.open_base, 5000);
    CHECK_INT(c->breaker.open_cap, 15000);
    CHECK_INT(c->stream.heartbeat_after, 45000);
    CHECK_STR(c->stream.resume, "off");
    CHECK_INT(c->replay.ttl, 120000);
    CHECK_INT(c->replay.answer, 4 << 20);
    CHECK_INT(c->replay.memory, 64 << 20);
    CHECK_INT(c->drain.delay, 3000);
    CHECK_INT(c->drain.timeout, 600000);
    CHECK_INT(c->limits.request_body, 32 << 20);
    CHECK_INT(c->limits.answer_body, 64 << 20);
    CHECK_INT(c->limits.memory, 1 << 30);
    CHECK_INT(c->limits.head_timeout, 10000);
    CHECK_INT(c->limits.body_timeout, 60000);
    CHECK_INT(c->limits.connections, 10000);
    CHECK_STR(c->log.level, "info");
    CHECK_STR(c->log.format, "json");
    CHECK_INT(c->workers, 0);
    CHECK(!c->insecure);
    CHECK_INT(c->n_clients + c->n_hosts + c->n_origins + c->n_warnings, 0);
    CHECK_INT(c->routes[0].timeouts.idle, 0);
    CHECK_INT(c->routes[0].targets[0].timeouts.idle, 0);
    CHECK_INT(c->routes[0].targets[0].weight, 1);
    config_free(c);
}

static const char everything[] =
    "listen: [127.0.0.1:0, \"unix:/run/holdfast.sock\"]\n"
    "admin: off\n"
    "routes:\n" /* before the providers that they name */
    "  - model: gpt-4o\n"
    "    targets: [openai/gpt-4o, gemini/models/x, claude, notice/x]\n"
    "  - model: \"fast-*\"\n"
    "    targets:\n"
    "      - [openai/gpt-4o-mini, {target: gemini/flash, weight: 3, context_window: 200000, "
    "first_token: 60s}]\n"
    "      - claude/claude-haiku\n"
    "      - [local]\n"
    "    timeouts: {first_token: 20s, answer: 90s, idle: 1.5m}\n"
    "providers:\n"
    "  openai: {type: openai, api_key: sk-1}\n"
    "  claude: {type: anthropic, api_key: \"${CONFIG_TEST_A}\"}\n"
    "  gemini: {type: gemini, keys: [k1, k2]}\n"
    "  local:  {type: openai, base_url: HTTP://127.0.0.1:11434/v1//}\n"
    "  far:    {type: azure, base_url: \"http://azure.example.com\", allow_http: true, keys: k3}\n"
    "  notice: {type: scripted, text: \"All providers are down. Ticket line: 4711.\"}\n"
    "timeouts: {connect: 3s, tls: 5s, first_token: 25s, total: 10m}\n"
    "failover: {max_attempts: 6, per_target: 1}\n"
    "retry_budget:\n" /* nothing is set */
    "breaker: {consecutive: 3, window: 20s, min_calls: 4, failure_rate: 0.25, open_base: 1s, "
    "open_cap: 2s}\n"
    "stream: {commit: first_content, midstream: error, heartbeat_after: 10s, on_disconnect: "
    "cancel, resume: on}\n"
    "replay: {ttl: 1m, answer: 1MiB, memory: 32MiB}\n"
    "drain: {delay: 0s, timeout: 30s}\n"
    "limits: {request_body: 64MiB, answer_body: 1MiB, memory: 2GiB, head_timeout: 1s, "
    "body_timeout: 2s, connections: 7}\n"
    "clients: [{name: ci, key_sha256: "
    "9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}]\n"
    "hosts: [proxy.example.com, 10.0.0.1]\n"
    "origins: https://app.example.com:8443\n"
    "log: {level: debug, format: text}\n"
    "workers: 3\n";

TEST(every_key_reaches_its_field)
{
    struct config *c;
    const struct config_target *t;

    clear_environment();
    setenv("CONFIG_TEST_A", "sk-ant", 1);
    c = parse(everything);
    CHECK_INT(c->n_listens, 2);
    CHECK_STR(c->listens[1].path, "/run/holdfast.sock");
    CHECK(c->admin.host == NULL && c->admin.path == NULL);
    CHECK_INT(c->n_providers, 6);
    CHECK_STR(c->providers[0].base_url, "https://api.openai.com/v1");
    CHECK_STR(c->providers[0].keys[0], "sk-1");
    CHECK_STR(c->providers[1].keys[0], "sk-ant");
    CHECK_INT(c->providers[2].n_keys, 2);
    CHECK_STR(c->providers[2].keys[1], "k2");
    CHECK_STR(c->providers[3].base_url, "http://127.0.0.1:11434/v1");
    CHECK_INT(c->providers[3].n_keys, 0);
    CHECK(c->providers[4].allow_http && !c->providers[3].allow_http);
    CHECK_STR(c->providers[4].base_url, "http://azure.example.com");
    CHECK(c->providers[5].base_url == NULL);
    CHECK_INT(c->n_routes, 2);
    CHECK_INT(c->routes[0].n_targets, 4);
    t = c->routes[0].targets;
    CHECK_INT(t[1].provider, 2);
    CHECK_STR(t[1].model, "models/x");
    CHECK(t[2].model == NULL);
    CHECK_INT(t[0].tier, 0);
    CHECK_INT(t[3].tier, 3);
    t = c->routes[1].targets;
    CHECK_INT(c->routes[1].n_targets, 4);
    CHECK_INT(t[0].tier, 0);
    CHECK_INT(t[1].tier, 0);
    CHECK_INT(t[2].tier, 1);
    CHECK_INT(t[3].tier, 2);
    CHECK_INT(t[1].weight, 3);
    CHECK_INT(t[1].context_window, 200000);
    CHECK_INT(t[1].timeouts.first_token, 60000);
    CHECK_INT(c->routes[1].timeouts.idle, 90000);
    CHECK_INT(c->timeouts.connect, 3000);
    CHECK_INT(c->timeouts.tls, 5000);
    CHECK_INT(c->timeouts.total, 600000);
    CHECK_INT(c->failover.max_attempts, 6);
    CHECK_INT(c->failover.per_target, 1);
    CHECK_INT(c->breaker.consecutive, 3);
    CHECK_INT(c->breaker.min_calls, 4);
    CHECK_INT(c->breaker.window, 20000);
    CHECK_INT(c->breaker.open_base, 1000);
    CHECK_INT(c->breaker.open_cap, 2000);
    CHECK(c->breaker.failure_rate == 0.25);
    CHECK_INT(c->stream.heartbeat_after, 10000);
    CHECK_STR(c->stream.resume, "on");
    CHECK_INT(c->replay.ttl, 60000);
    CHECK_INT(c->replay.answer, 1 << 20);
    CHECK_INT(c->replay.memory, 32 << 20);
    CHECK_INT(c->drain.delay, 0);
    CHECK_INT(c->drain.timeout, 30000);
    CHECK_INT(c->limits.request_body, 64 << 20);
    CHECK_INT(c->limits.answer_body, 1 << 20);
    CHECK(c->limits.memory == (uint64_t)2 << 30);
    CHECK_INT(c->limits.head_timeout, 1000);
    CHECK_INT(c->limits.body_timeout, 2000);
    CHECK_INT(c->limits.connections, 7);
    CHECK_INT(c->n_clients, 1);
    CHECK_STR(c->clients[0].name, "ci");
    CHECK_INT(c->clients[0].key_sha256[0], 0x9f);
    CHECK_INT(c->clients[0].key_sha256[31], 0x08);
    CHECK_INT(c->n_hosts, 2);
    CHECK_STR(c->hosts[1], "10.0.0.1");
    CHECK_STR(c->origins[0], "https://app.example.com:8443");
    CHECK_STR(c->log.level, "debug");
    CHECK_STR(c->log.format, "text");
    CHECK_INT(c->workers, 3);
    config_free(c);
}

TEST(a_first_token_limit_also_limits_whole_answers_at_its_level)
{
    struct config *c;
    struct config_timeouts t;

    clear_environment();
    setenv("CONFIG_TEST_A", "sk-ant", 1);
    c = parse(everything);
    CHECK_INT(c->timeouts.answer, 25000);
    t = config_timeouts_of(c, &c->routes[0], &c->routes[0].targets[0]);
    CHECK_INT(t.answer, 25000);
    t = config_timeouts_of(c, &c->routes[1], &c->routes[1].targets[0]);
    CHECK_INT(t.first_token, 20000);
    CHECK_INT(t.answer, 90000);
    CHECK_INT(t.connect, 3000);
    t = config_timeouts_of(c, &c->routes[1], &c->routes[1].targets[1]);
    CHECK_INT(t.first_token, 60000);
    CHECK_INT(t.answer, 60000);
    CHECK_INT(t.idle, 90000);
    config_free(c);
    c = parse(PROVIDERS ROUTES "timeouts: {first_token: 7s, answer: 8s}");
    CHECK_INT(c->timeouts.answer, 8000);
    config_free(c);
    setenv("HOLDFAST_TIMEOUTS_FIRST_TOKEN", "9s", 1);
    c = parse(PROVIDERS ROUTES);
    CHECK_INT(c->timeouts.answer, 9000);
    config_free(c);
    clear_environment();
}

/* --- what it may not say --- */

#define KEYS                                                                                       \
    "listen, admin, providers, routes, passthrough, timeouts, failover, retry_budget, breaker, "   \
    "hedge, overload, stream, replay, keep_warm, drain, limits, tls, clients, hosts, allow, "      \
    "origins, insecure, log, workers"

TEST(mistakes_in_keys_are_named_with_their_place)
{
    static const struct bad rows[] = {
        {"", "t: is empty; expected providers and routes"},
        {"# all is commented out\n", "t: is empty; expected providers and routes"},
        {"[]", "t:1:1: expected a mapping, found a list"},
        {"text", "t:1:1: expected a mapping, found text"},
        {"lisen: x", "t:1:1: lisen: unknown key; did you mean listen?"},
        {"a: 1\ntimeouts:\n  idel: 4s", "t:1:1: a: unknown key; expected one of " KEYS},
        {"timeouts:\n  idel: 4s", "t:2:3: timeouts.idel: unknown key; did you mean idle?"},
        {"timeouts.idle: 4s", "t:1:1: timeouts.idle: unknown key; expected one of " KEYS},
        {"\"a\\nb\": 4s", "t:1:1: \"a?b\": unknown key; expected one of " KEYS},
        {"drain: {delay: 1s, delay: 2s}", "t:1:20: the key \"delay\" stands here twice; first on "
                                          "line 1"},
        {"timeouts: 4s", "t:1:11: timeouts: expected a mapping, found text"},
        {"providers: [a]", "t:1:12: providers: expected a mapping of names, found a list"},
        {"providers: {p: x}", "t:1:16: providers.p: expected a mapping, found text"},
        {"providers: {\"p/q\": {}}",
         "t:1:13: providers.\"p/q\": is not a name; expected letters, digits and . _ -"},
        {"routes: {}", "t:1:9: routes: expected a list, found a mapping"},
        {"routes: [a]", "t:1:10: routes[0]: expected a mapping, found text"},
        {"clients: x", "t:1:10: clients: expected a list, found text"},
        {"log: {level: {}}",
         "t:1:14: log.level: expected error, warn, info or debug, found a mapping"},
        {"log: {level: }", "t:1:14: log.level: has no value; expected error, warn, info or debug"},
    };

    check_all(rows, ARRAY_LEN(rows));
}

TEST(mistakes_in_values_say_what_was_expected)
{
    static const struct bad rows[] = {
        {"timeouts:\n  idle: 10", "t:2:9: timeouts.idle: \"10\" has no unit; write 10s or 10000ms"},
        {"timeouts: {idle: 0s}",
         "t:1:18: timeouts.idle: \"0s\" is out of range; expected 1ms to 24h"},
        {"timeouts: {idle: 25h}",
         "t:1:18: timeouts.idle: \"25h\" is out of range; expected 1ms to 24h"},
        {"limits: {request_body: 65MiB}",
         "t:1:24: limits.request_body: \"65MiB\" is out of range; expected 1KiB to 64MiB"},
        {"limits: {request_body: 20MiB, memory: 10MiB}",
         "t:1:24: limits.request_body: 20MiB is more than limits.memory, 10MiB"},
        {"failover: {max_attempts: four}",
         "t:1:26: failover.max_attempts: \"four\" is not a whole number; expected 1 to 16"},
        {"failover: {max_attempts: 0}",
         "t:1:26: failover.max_attempts: \"0\" is out of range; expected 1 to 16"},
        {"failover: {max_attempts: 18446744073709551617}",
         "t:1:26: failover.max_attempts: \"18446744073709551617\" is not a whole number; expected "
         "1 "
         "to 16"},
        {"breaker: {failure_rate: 2}",
         "t:1:25: breaker.failure_rate: \"2\" is out of range; expected 0.01 to 1"},
        {"breaker: {failure_rate: half}",
         "t:1:25: breaker.failure_rate: \"half\" is not a number; expected 0.01 to 1"},
        {"insecure: yes", "t:1:11: insecure: \"yes\" is neither true nor false"},
        {"workers: 0", "t:1:10: workers: \"0\" is out of range; expected 1 to 256, or auto"},
        {"workers: many",
         "t:1:10: workers: \"many\" is not a whole number; expected 1 to 256, or auto"},
        {"log: {level: loud}",
         "t:1:14: log.level: \"loud\" is not known; expected error, warn, info or debug"},
        {"log: {level: \"\"}",
         "t:1:14: log.level: \"\" is not known; expected error, warn, info or debug"},
        {"hosts: [\"a:80\"]", "t:1:9: hosts[0]: \"a:80\" is not a host name or address; expected "
                              "one without scheme, port and brackets"},
        {"origins: [\"https://a/\"]",
         "t:1:11: origins[0]: \"https://a/\" is not an origin; expected scheme://host[:port]"},
        {"origins: [null]", "t:1:11: origins[0]: has no value; expected texts"},
        {"listen: []", "t:1:9: listen: is an empty list"},
        {"listen: 8090", "t:1:9: listen: \"8090\" has no host; write 127.0.0.1:8090"},
        {"listen: {a: b}", "t:1:9: listen: expected a list, found a mapping"},
        {"admin: on", "t:1:8: admin: \"on\" has no port; expected HOST:PORT, :PORT, [IPV6]:PORT or "
                      "unix:/path"},
    };
    char text[512];

    clear_environment();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(text, sizeof(text), "%s\n" PROVIDERS ROUTES, rows[i].text);
        check_refused(text, rows[i].want);
    }
}

TEST(a_provider_of_openais_kind_speaks_what_it_is_told_or_what_its_url_is_known_for)
{
    static const struct {
        const char *provider, *dialect;
    } rows[] = {
        {"{type: openai, api_key: k}", "both"},
        {"{type: openai, api_key: k, base_url: 'https://api.openai.com/v1/'}", "both"},
        {"{type: openai, api_key: k, base_url: 'https://gateway.example/v1'}", "chat"},
        {"{type: openai, api_key: k, dialect: chat}", "chat"},
        {"{type: openai, base_url: 'http://127.0.0.1:1/v1', dialect: both}", "both"},
        {"{type: azure, api_key: k, base_url: 'https://a.example', dialect: responses}",
         "responses"},
        {"{type: anthropic, api_key: k}", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[512];
        struct config *c;
        struct err e;

        snprintf(text, sizeof(text), "providers: {p: %s}\nroutes: [{model: '*', targets: [p]}]\n",
                 rows[i].provider);
        if (config_parse("t", text, strlen(text), &fake_types, &c, &e) < 0)
            fail_msg("%s: %s", rows[i].provider, e.msg);
        if (rows[i].dialect == NULL)
            CHECK(c->providers[0].dialect == NULL);
        else
            CHECK_STR(c->providers[0].dialect, rows[i].dialect);
        config_free(c);
    }
    check_refused("providers: {p: {type: anthropic, api_key: k, dialect: chat}}\n" ROUTES,
                  "t:1:46: providers.p.dialect: type anthropic has one of its own; remove the "
                  "line");
    check_refused("providers: {p: {type: anthropic, api_key: k, completions: chat}}\n" ROUTES,
                  "t:1:46: providers.p.completions: type anthropic has no other than translated "
                  "ones; remove the line");
}

TEST(what_this_version_lacks_is_refused_and_not_ignored)
{
    static const struct bad rows[] = {
        {"hedge: {aftr: 1s}", "t:1:9: hedge.aftr: unknown key; did you mean after?"},
        {"stream: {on_disconnect: drain}", "t:1:25: stream.on_disconnect: \"drain\" is not "
                                           "available in this version (0.1.0); expected "
                                           "cancel"},
        {"stream: {commit: later}", "t:1:18: stream.commit: \"later\" is not known; expected "
                                    "first_content, window or full"},
    };

    check_all(rows, ARRAY_LEN(rows));
}

TEST(what_becomes_of_a_stream_that_breaks_is_configured)
{
    struct config *c = parse(PROVIDERS ROUTES);

    CHECK_STR(c->stream.commit, "first_content");
    CHECK_STR(c->stream.midstream, "auto");
    CHECK_STR(c->stream.tool_calls, "atomic");
    CHECK_INT(c->stream.window_tokens, 32);
    CHECK_INT(c->stream.window_time, 2000);
    CHECK_INT(c->stream.seam_memory, 256 * 1024);
    CHECK_STR(c->providers[0].carry_on, "auto");
    config_free(c);
    c = parse("stream: {commit: window, midstream: continue, tool_calls: stream, window_tokens: 3, "
              "window_time: 50ms, seam_memory: 0KiB}\n" PROVIDERS ROUTES);
    CHECK_STR(c->stream.commit, "window");
    CHECK_STR(c->stream.midstream, "continue");
    CHECK_STR(c->stream.tool_calls, "stream");
    CHECK_INT(c->stream.window_tokens, 3);
    CHECK_INT(c->stream.window_time, 50);
    CHECK_INT(c->stream.seam_memory, 0);
    config_free(c);
}

TEST(tuning_of_retries_hedges_and_overload_has_defaults_and_words)
{
    struct config *c = parse(PROVIDERS ROUTES);

    CHECK(c->hedge.after == 0 && c->hedge.max_ratio == 0.05 && c->hedge.floor == 2);
    CHECK(c->retry_budget.ratio == 0.2 && c->retry_budget.capacity == 10);
    CHECK_STR(c->overload.stance, "balanced");
    CHECK_INT(c->overload.queue_max_wait, 10000);
    config_free(c);
    c = parse("hedge: {after: off, max_ratio: 0.5, floor: 0}\noverload: {stance: polite, "
              "queue_max_wait: 0s}\nretry_budget: {ratio: 1, capacity: 0}\n" PROVIDERS ROUTES);
    CHECK(c->hedge.after == CONFIG_OFF && c->hedge.max_ratio == 0.5 && c->hedge.floor == 0);
    CHECK(c->retry_budget.ratio == 1 && c->retry_budget.capacity == 0);
    CHECK_STR(c->overload.stance, "polite");
    CHECK_INT(c->overload.queue_max_wait, 0);
    config_free(c);
    c = parse("hedge: {after: 300ms}\n" PROVIDERS ROUTES);
    CHECK_INT(c->hedge.after, 300);
    config_free(c);
}

TEST(providers_must_be_complete_and_safe)
{
    static const struct bad rows[] = {
        {"providers: {p: {}}", "t:1:13: providers.p: has no type; expected one of openai, "
                               "anthropic, gemini, azure, scripted"},
        {"providers:\n  p:", "t:2:3: providers.p: has no type; expected one of openai, anthropic, "
                             "gemini, azure, scripted"},
        {"providers: {p: {type: opanai}}",
         "t:1:23: providers.p.type: \"opanai\" is no type; did you mean openai?"},
        {"providers: {p: {type: x}}", "t:1:23: providers.p.type: \"x\" is no type; expected one of "
                                      "openai, anthropic, gemini, azure, scripted"},
        {"providers: {p: {type: openai}}",
         "t:1:13: providers.p: has no api_key; https://api.openai.com/v1 needs one"},
        {"providers: {p: {type: openai, base_url: https://api.openai.com/v1/}}",
         "t:1:13: providers.p: has no api_key; https://api.openai.com/v1 needs one"},
        {"providers: {p: {type: azure, api_key: x}}",
         "t:1:13: providers.p: has no base_url; type azure has no default"},
        {"providers: {p: {type: openai, api_key: x, keys: [y]}}",
         "t:1:43: providers.p.keys: api_key is given too; expected one of the two"},
        {"providers: {p: {type: openai, api_key: \"sk-secret x\"}}",
         "t:1:40: providers.p.api_key: not a key; expected printable ASCII characters without "
         "spaces"},
        {"providers: {p: {type: openai, keys: [k, \"sk-secret\\r\\nx-evil: 1\"]}}",
         "t:1:41: providers.p.keys[1]: not a key; expected printable ASCII characters without "
         "spaces"},
        {"providers: {p: {type: openai, api_key: \"\"}}", "t:1:40: providers.p.api_key: is empty"},
        {"providers: {p: {type: openai, api_key: }}",
         "t:1:40: providers.p.api_key: has no value; expected a key"},
        {"providers: {p: {type: openai, api_key: x, text: y}}",
         "t:1:43: providers.p.text: only a provider that answers by itself takes one, and type "
         "openai does not"},
        {"providers: {p: {type: scripted}}",
         "t:1:13: providers.p: has no text; type scripted needs what it is to answer"},
        {"providers: {p: {type: scripted, text: x, api_key: y}}",
         "t:1:42: providers.p.api_key: type scripted answers by itself and takes none; remove the "
         "line"},
        {"providers: {p: {type: openai, base_url: ftp://a}}",
         "t:1:41: providers.p.base_url: \"ftp://a\" is not an http or https URL"},
        {"providers: {p: {type: openai, base_url: \"https://\"}}",
         "t:1:41: providers.p.base_url: \"https://\" has no valid host"},
        {"providers: {p: {type: openai, base_url: \"https://u:secret@a/\"}}",
         "t:1:41: providers.p.base_url: holds a user or password; the key goes into api_key"},
        {"providers: {p: {type: openai, base_url: \"https://a/?key=secret\"}}",
         "t:1:41: providers.p.base_url: has a query or fragment; expected scheme, host and path"},
        {"providers: {p: {type: openai, base_url: \"https://a/#x\"}}",
         "t:1:41: providers.p.base_url: \"https://a/#x\" has a query or fragment; expected scheme, "
         "host and path"},
        {"providers: {p: {type: openai, base_url: \"https://a b\"}}",
         "t:1:41: providers.p.base_url: \"https://a b\" holds a character that a URL may not hold"},
        {"providers: {p: {type: openai, base_url: \"https://a:0/\"}}",
         "t:1:41: providers.p.base_url: \"https://a:0/\" has a port that is not 1 to 65535"},
        {"providers: {p: {type: openai, base_url: http://api.example.com}}",
         "t:1:41: providers.p.base_url: \"http://api.example.com\" sends keys and prompts readable "
         "through the internet; use https, or set allow_http: true"},
        {"providers: {p: {type: openai, base_url: http://localhost:8090/v1}}\n" ROUTES,
         "t:1:41: providers.p.base_url: \"http://localhost:8090/v1\" leads back to this proxy, "
         "which "
         "listens on localhost:8090"},
        {"listen: \":8090\"\ninsecure: true\nproviders: {p: {type: openai, base_url: "
         "\"http://[::1]:8090/v1\"}}\n" ROUTES,
         "t:3:41: providers.p.base_url: \"http://[::1]:8090/v1\" leads back to this proxy, which "
         "listens on :8090"},
        {"routes: []", "t: providers: there are none; expected at least one"},
        {PROVIDERS "routes: []", "t:2:9: routes: there are none; expected at least one, such as "
                                 "{model: \"*\", targets: [p]}"},
        {PROVIDERS, "t: routes: there are none; expected at least one, such as {model: \"*\", "
                    "targets: [p]}"},
    };

    check_all(rows, ARRAY_LEN(rows));
}

TEST(plain_http_is_for_hosts_nearby)
{
    static const char *const urls[] = {"http://127.0.0.1:1/v1", "http://[::1]:1",
                                       "http://10.0.0.1",       "http://ollama:11434/v1",
                                       "http://gpu.internal/x", "http://[fd00::1]:8000/v1"};
    char text[256];

    clear_environment();
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        snprintf(text, sizeof(text), "providers: {p: {type: openai, base_url: \"%s\"}}\n" ROUTES,
                 urls[i]);
        config_free(parse(text));
    }
}

TEST(another_host_with_our_port_is_not_this_proxy)
{
    static const char *const urls[] = {"http://10.0.0.1:8090", "http://ollama:8090/v1",
                                       "https://localhost:8090"};
    char text[256];

    clear_environment();
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        snprintf(
            text, sizeof(text),
            "listen: localhost:8090\nproviders: {p: {type: openai, base_url: \"%s\"}}\n" ROUTES,
            urls[i]);
        config_free(parse(text));
    }
}

TEST(routes_must_lead_somewhere)
{
    static const struct bad rows[] = {
        {"routes: [{targets: [p]}]",
         "t:2:10: routes[0]: has no model; expected a model name or pattern"},
        {"routes: [{model: a}]",
         "t:2:10: routes[0]: has no targets; expected at least one provider/model"},
        {"routes: [{model: a, targets: p}]",
         "t:2:30: routes[0].targets: expected a list of targets, found text"},
        {"routes: [{model: a, targets: []}]",
         "t:2:30: routes[0].targets: is an empty list; expected at least one provider/model"},
        {"routes: [{model: a, targets: [[]]}]",
         "t:2:31: routes[0].targets[0]: is an empty tier; expected at least one target"},
        {"routes: [{model: a, targets: [[[p]]]}]",
         "t:2:32: routes[0].targets[0][0]: expected text, found a list"},
        {"routes: [{model: a, targets: [p, pp/x]}]",
         "t:2:34: routes[0].targets[1]: \"pp/x\" names no provider; there are p"},
        {"routes: [{model: a, targets: [openai/x]}]",
         "t:2:31: routes[0].targets[0]: \"openai/x\" names no provider; there are p"},
        {"routes: [{model: a, targets: [p/]}]",
         "t:2:31: routes[0].targets[0]: \"p/\" has no model after its slash; expected "
         "provider/model"},
        {"routes: [{model: a, targets: [\"p/a b\"]}]",
         "t:2:31: routes[0].targets[0]: \"p/a b\" is not a model name; expected up to 256 "
         "printable "
         "ASCII characters without spaces"},
        {"routes: [{model: a, targets: [{weight: 1}]}]",
         "t:2:31: routes[0].targets[0]: has no target; expected target: provider/model"},
        {"routes: [{model: a, targets: [{target: x}]}]",
         "t:2:40: routes[0].targets[0].target: \"x\" names no provider; there are p"},
        {"routes: [{model: a, targets: [{target: p, wieght: 1}]}]",
         "t:2:43: routes[0].targets[0].wieght: unknown key; did you mean weight?"},
        {"routes: [{model: a, targets: [{target: p, weight: 0}]}]",
         "t:2:51: routes[0].targets[0].weight: \"0\" is out of range; expected 1 to 1000"},
        {"routes: [{model: a, targets: [p], timeouts: {idle: 5}}]",
         "t:2:52: routes[0].timeouts.idle: \"5\" has no unit; write 5s or 5000ms"},
        {"routes: [{model: a, targets: [p]}, {model: b, targets: [p]}, {model: a, targets: [p]}]",
         "t:2:70: routes[2].model: \"a\" is routes[0].model already; the first match wins"},
    };
    char text[2048];
    size_t n;

    clear_environment();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(text, sizeof(text), PROVIDERS "%s\n", rows[i].text);
        check_refused(text, rows[i].want);
    }
    n = (size_t)snprintf(text, sizeof(text), PROVIDERS "routes: [{model: a, targets: [p");
    for (unsigned i = 1; i <= CONFIG_MAX_TARGETS; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, ", p");
    snprintf(text + n, sizeof(text) - n, "]}]");
    check_refused(text, "t:2:127: routes[0].targets[32]: a route has at most 32 targets");
}

TEST(a_route_that_an_earlier_pattern_covers_is_worth_a_warning)
{
    struct config *c;

    clear_environment();
    c = parse(PROVIDERS "routes:\n"
                        "- {model: \"gpt-*\", targets: [p]}\n"
                        "- {model: \"gpt-4*\", targets: [p]}\n"
                        "- {model: \"*\", targets: [p]}\n");
    CHECK_INT(c->n_warnings, 1);
    CHECK_STR(c->warnings[0], "t:4:11: routes[1].model: \"gpt-4*\" never matches, since routes[0] "
                              "(gpt-*) matches all of it first");
    config_free(c);
}

#define SHA "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

TEST(nobody_is_let_in_unasked)
{
    static const struct bad rows[] = {
        {"listen: 0.0.0.0:8090",
         "t:1:9: listen: other machines can reach \"0.0.0.0:8090\" and there "
         "are no clients; expected clients with keys, or insecure: true"},
        {"listen: [127.0.0.1:1, \":2\"]", "t:1:9: listen: other machines can reach \":2\" and "
                                          "there are no clients; expected clients "
                                          "with keys, or insecure: true"},
        {"listen: 0.0.0.0:8090\nclients: []",
         "t:1:9: listen: other machines can reach \"0.0.0.0:8090\" and there are no clients; "
         "expected clients with keys, or insecure: true"},
        {"admin: 0.0.0.0:8091\nclients: [{name: a, key_sha256: " SHA "}]",
         "t:1:8: admin: other machines can reach \"0.0.0.0:8091\"; expected a loopback address, or "
         "insecure: true"},
        {"listen: [127.0.0.1:1, 127.0.0.1:1]", "t:1:9: listen: \"127.0.0.1:1\" stands here twice"},
        {"listen: [\"[::1]:1\", localhost:1]", "t:1:9: listen: \"localhost:1\" stands here twice"},
        {"listen: [localhost:1, 127.0.0.1:1]", "t:1:9: listen: \"127.0.0.1:1\" stands here twice"},
        {"admin: 127.0.0.1:8090",
         "t:1:8: admin: \"127.0.0.1:8090\" is a data port too; expected another one"},
        {"clients: [{name: a}]", "t:1:11: clients[0]: has no key_sha256"},
        {"clients: [{key_sha256: " SHA "}]", "t:1:11: clients[0]: has no name"},
        {"clients: [{name: a, key_sha256: sk-secret}]",
         "t:1:33: clients[0].key_sha256: is not a SHA-256; expected 64 hexadecimal "
         "digits, as `printf %s KEY | sha256sum` prints them"},
        {"clients: [{name: a, key_sha256: " SHA "}, {name: b, key_sha256: " SHA "}]",
         "t:1:122: clients[1].key_sha256: is the key of clients[0] already"},
        {"breaker: {open_base: 20s}",
         "t:1:22: breaker.open_base: 20s is more than breaker.open_cap, 15s"},
    };
    static const char *const good[] = {
        "listen: 0.0.0.0:8090\ninsecure: true\n",
        "listen: 0.0.0.0:8090\nclients: [{name: a, key_sha256: " SHA "}]\n",
        "listen: \"unix:/run/h.sock\"\nadmin: \"unix:/run/a.sock\"\n",
        "listen: [127.0.0.1:0, 127.0.0.1:0]\nadmin: 127.0.0.1:0\n",
    };
    char text[1024];

    clear_environment();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(text, sizeof(text), "%s\n" PROVIDERS ROUTES, rows[i].text);
        check_refused(text, rows[i].want);
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        snprintf(text, sizeof(text), "%s" PROVIDERS ROUTES, good[i]);
        config_free(parse(text));
    }
}

/* --- the environment --- */

TEST(variables_win_over_the_file)
{
    struct config *c;

    clear_environment();
    setenv("HOLDFAST_LISTEN", "127.0.0.1:1, [::1]:1", 1);
    setenv("HOLDFAST_ADMIN", "off", 1);
    setenv("HOLDFAST_TIMEOUTS_IDLE", "9s", 1);
    setenv("HOLDFAST_LOG_LEVEL", "", 1);
    setenv("HOLDFAST_HOSTS", "a,b", 1);
    setenv("HOLDFAST_CONFIG", "/etc/x.yaml", 1);
    setenv("HOLDFAST_PORT", "tcp://10.0.0.1:8090", 1);
    setenv("HOLDFAST_SERVICE_HOST", "10.0.0.1", 1);
    setenv("HOLDFAST_TIMEOUT_IDLE", "9s", 1);
    setenv("HOLDFAST_COLOUR", "1", 1);
    c = parse("listen: 127.0.0.1:9\ntimeouts: {idle: 3s}\nlog: {level: warn}\n" PROVIDERS ROUTES);
    CHECK_INT(c->n_listens, 2);
    CHECK_STR(c->listens[0].text, "127.0.0.1:1");
    CHECK_STR(c->listens[1].host, "::1");
    CHECK(c->admin.host == NULL);
    CHECK_INT(c->timeouts.idle, 9000);
    CHECK_STR(c->log.level, "warn");
    CHECK_INT(c->n_hosts, 2);
    CHECK_INT(c->n_warnings, 2);
    CHECK_STR(c->warnings[strstr(c->warnings[0], "IDLE") == NULL],
              "HOLDFAST_TIMEOUT_IDLE: no such option; did you mean HOLDFAST_TIMEOUTS_IDLE?");
    CHECK_STR(c->warnings[strstr(c->warnings[0], "COLOUR") == NULL],
              "HOLDFAST_COLOUR: no such option");
    config_free(c);
    clear_environment();
}

TEST(mistakes_in_variables_name_the_variable)
{
    static const struct {
        const char *name, *value, *want;
    } rows[] = {
        {"HOLDFAST_TIMEOUTS_IDLE", "10",
         "HOLDFAST_TIMEOUTS_IDLE: \"10\" has no unit; write 10s or 10000ms"},
        {"HOLDFAST_LISTEN", "0.0.0.0:8090",
         "HOLDFAST_LISTEN: other machines can reach \"0.0.0.0:8090\" and there are no clients; "
         "expected clients with keys, or insecure: true"},
        {"HOLDFAST_LISTEN", "127.0.0.1:1,",
         "HOLDFAST_LISTEN: \"127.0.0.1:1,\" has no port; expected HOST:PORT, :PORT, [IPV6]:PORT or "
         "unix:/path"},
        {"HOLDFAST_TLS_CERT", "x", "t: tls: has only one of cert and key; expected both"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        clear_environment();
        setenv(rows[i].name, rows[i].value, 1);
        check_refused(PROVIDERS ROUTES, rows[i].want);
    }
    clear_environment();
}

TEST(each_row_can_be_found_and_has_a_variable_of_its_own)
{
    struct arena a;
    size_t n;
    const struct option *rows = options_all(&n);

    arena_init(&a);
    for (size_t i = 0; i < n; i++) {
        const char *one = option_variable(&rows[i], &a);

        CHECK(option_find(rows[i].path) == &rows[i]);
        CHECK(rows[i].help != NULL && rows[i].help[0] != '\0');
        for (size_t j = 0; one != NULL && j < i; j++) {
            const char *other = option_variable(&rows[j], &a);

            CHECK(other == NULL || strcmp(one, other) != 0);
        }
    }
    arena_release(&a);
}

/* --- zero configuration --- */

/* "openai/- anthropic/claude-large" */
static void check_route(const struct config *c, const char *model, const char *want)
{
    char mem[512];
    struct strbuf out = strbuf_on(mem, sizeof(mem));

    for (size_t i = 0; i < c->n_routes; i++) {
        const struct config_route *r = &c->routes[i];

        if (!span_glob(span_of(r->model), span_of(model)))
            continue;
        for (size_t j = 0; j < r->n_targets; j++)
            strbuf_addf(&out, "%s%s/%s", j > 0 ? " " : "",
                        c->providers[r->targets[j].provider].name,
                        r->targets[j].model != NULL ? r->targets[j].model : "-");
        break;
    }
    CHECK_STR(mem, want);
}

TEST(without_a_file_the_keys_that_are_there_back_each_other_up)
{
    struct config *c;

    clear_environment();
    setenv("OPENAI_API_KEY", "sk-1${X}", 1);
    setenv("ANTHROPIC_API_KEY", "sk-2", 1);
    setenv("GEMINI_API_KEY", "", 1);
    setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9999/", 1);
    c = zero();
    CHECK_STR(c->source, "zero configuration");
    CHECK_INT(c->n_providers, 2);
    CHECK_STR(c->providers[0].keys[0], "sk-1${X}");
    CHECK_STR(c->providers[0].base_url, "https://api.openai.com/v1");
    CHECK_STR(c->providers[1].type, "anthropic");
    CHECK_STR(c->providers[1].base_url, "http://127.0.0.1:9999");
    check_route(c, "gpt-4o", "openai/- anthropic/claude-large");
    check_route(c, "gpt-4o-mini", "openai/- anthropic/claude-small");
    check_route(c, "o3-mini", "openai/- anthropic/claude-small");
    check_route(c, "claude-sonnet", "anthropic/- openai/gpt-large");
    check_route(c, "claude-3-5-haiku", "anthropic/- openai/gpt-small");
    check_route(c, "llama", "openai/- anthropic/claude-large");
    CHECK_INT(c->routes[0].targets[1].tier, 1);
    CHECK_INT(c->routes[0].targets[1].weight, 1);
    CHECK_INT(c->n_warnings, 0);
    CHECK_INT(c->timeouts.total, 600000);
    config_free(c);
    setenv("GEMINI_API_KEY", "k", 1);
    unsetenv("OPENAI_API_KEY");
    c = zero();
    check_route(c, "gemini-pro", "gemini/- anthropic/claude-large"); /* "mini" is in its prefix */
    check_route(c, "gemini-flash", "gemini/- anthropic/claude-small");
    check_route(c, "x", "anthropic/- gemini/gemini-large");
    config_free(c);
    clear_environment();
}

TEST(a_model_that_thinks_at_length_is_replaced_by_one_that_does)
{
    struct config *c;

    clear_environment();
    setenv("OPENAI_API_KEY", "sk-1", 1);
    setenv("ANTHROPIC_API_KEY", "sk-2", 1);
    setenv("GEMINI_API_KEY", "k", 1);
    c = zero();
    check_route(c, "o3", "openai/- anthropic/claude-opus gemini/gemini-large");
    check_route(c, "o3-2025-04-16", "openai/- anthropic/claude-opus gemini/gemini-large");
    check_route(c, "claude-opus", "anthropic/- openai/o3 gemini/gemini-large");
    check_route(c, "claude-3-opus-latest", "anthropic/- openai/o3 gemini/gemini-large");
    check_route(c, "claude-sonnet-thinking", "anthropic/- openai/o3 gemini/gemini-large");
    /* A small one stays small, and all others keep their class. */
    check_route(c, "o3-mini", "openai/- anthropic/claude-small gemini/gemini-small");
    check_route(c, "gemini-thinking", "gemini/- openai/gpt-large anthropic/claude-large");
    check_route(c, "gpt-opus", "openai/- anthropic/claude-large gemini/gemini-large");
    CHECK_INT(c->n_warnings, 0);
    config_free(c);
    clear_environment();
}

TEST(without_a_file_and_a_key_holdfast_answers_itself)
{
    struct config *c;

    clear_environment();
    c = zero();
    CHECK_INT(c->n_providers, 1);
    CHECK_STR(c->providers[0].name, "demo");
    CHECK_STR(c->providers[0].type, "scripted");
    CHECK(strstr(c->providers[0].text, "export OPENAI_API_KEY=") != NULL);
    check_route(c, "anything", "demo/demo");
    config_free(c);
}

TEST(a_base_url_that_is_this_proxy_is_not_taken)
{
    struct config *c;

    clear_environment();
    setenv("OPENAI_API_KEY", "sk-1", 1);
    setenv("OPENAI_BASE_URL", "http://localhost:8090/v1", 1);
    c = zero();
    CHECK_STR(c->providers[0].base_url, "https://api.openai.com/v1");
    CHECK_INT(c->n_warnings, 1);
    CHECK_STR(c->warnings[0], "OPENAI_BASE_URL: \"http://localhost:8090/v1\" is this proxy itself; "
                              "the provider's own URL is used");
    config_free(c);
    setenv("OPENAI_BASE_URL", "http://127.0.0.2:8090/v1", 1);
    c = zero();
    CHECK_STR(c->providers[0].base_url, "http://127.0.0.2:8090/v1");
    config_free(c);
    clear_environment();
}

TEST(bad_keys_and_urls_of_the_environment_are_named)
{
    struct config *c;
    struct err e;

    clear_environment();
    setenv("OPENAI_API_KEY", "sk-secret\nx: y", 1);
    CHECK(config_load(NULL, &fake_types, &c, &e) < 0);
    CHECK_STR(e.msg,
              "OPENAI_API_KEY: not a key; expected printable ASCII characters without spaces");
    setenv("OPENAI_API_KEY", "sk-1", 1);
    setenv("OPENAI_BASE_URL", "api.openai.com", 1);
    CHECK(config_load(NULL, &fake_types, &c, &e) < 0);
    CHECK_STR(e.msg, "OPENAI_BASE_URL: \"api.openai.com\" is not an http or https URL");
    clear_environment();
}

TEST(a_file_that_only_sets_options_gets_its_providers_from_the_environment)
{
    struct config *c;

    clear_environment();
    check_refused("timeouts: {idle: 3s}",
                  "t: there are no providers, and none of OPENAI_API_KEY, ANTHROPIC_API_KEY, "
                  "GEMINI_API_KEY is set; add providers and routes");
    setenv("GEMINI_API_KEY", "k", 1);
    c = parse("timeouts: {idle: 3s}");
    CHECK_STR(c->source, "t");
    CHECK_INT(c->timeouts.idle, 3000);
    check_route(c, "gemini-pro", "gemini/-");
    config_free(c);
    clear_environment();
}

/* --- files --- */

TEST(a_file_is_read_and_its_open_keys_are_noticed)
{
    static const char text[] = "providers: {p: {type: openai, api_key: sk-1}}\n" ROUTES;
    char *path = write_temporary(text, sizeof(text) - 1, 0600), want[256];
    struct config *c;
    struct err e = {0};

    clear_environment();
    CHECK(config_load(path, &fake_types, &c, &e) == 0);
    CHECK_STR(c->source, path);
    CHECK_INT(c->n_warnings, 0);
    config_free(c);
    CHECK(chmod(path, 0644) == 0);
    CHECK(config_load(path, &fake_types, &c, &e) == 0);
    snprintf(want, sizeof(want),
             "%s:1:40: providers.p.api_key: every user of this machine can read "
             "this file and its key; chmod 600 it",
             path);
    CHECK_INT(c->n_warnings, 1);
    CHECK_STR(c->warnings[0], want);
    config_free(c);
    unlink(path);
    CHECK(config_load(path, &fake_types, &c, &e) < 0);
    CHECK_INT(e.code, ERR_IO);
    snprintf(want, sizeof(want), "%s: cannot open: No such file or directory", path);
    CHECK_STR(e.msg, want);
    CHECK(config_load("/tmp", &fake_types, &c, &e) < 0);
    CHECK_STR(e.msg, "/tmp: cannot read: Is a directory");
    free(path);
}

TEST(a_key_file_that_everybody_can_read_is_noticed)
{
    char *path = write_temporary("sk-1\n", 5, 0644), text[256], want[256];
    struct config *c;

    clear_environment();
    snprintf(text, sizeof(text), "providers: {p: {type: openai, api_key: \"${file:%s}\"}}\n" ROUTES,
             path);
    c = parse(text);
    CHECK_STR(c->providers[0].keys[0], "sk-1");
    CHECK_INT(c->n_warnings, 1);
    snprintf(want, sizeof(want),
             "t:1:40: providers.p.api_key: every user of this machine can read %s", path);
    CHECK_STR(c->warnings[0], want);
    config_free(c);
    CHECK(chmod(path, 0600) == 0);
    c = parse(text);
    CHECK_INT(c->n_warnings, 0);
    config_free(c);
    unlink(path);
    free(path);
}

static void check_found(const char *given, const char *want)
{
    char *path = config_find(given);

    if (want == NULL)
        CHECK(path == NULL || strcmp(path, "/etc/holdfast/holdfast.yaml") == 0);
    else
        CHECK_STR(path, want);
    free(path);
}

TEST(the_file_is_looked_for_in_one_order)
{
    char here[4096], folder[] = "/tmp/holdfast-config-test-XXXXXX", path[256], *home;

    clear_environment();
    home = mem_strdup(getenv("HOME"));
    unsetenv("HOME");
    CHECK(getcwd(here, sizeof(here)) != NULL);
    CHECK(mkdtemp(folder) != NULL && chdir(folder) == 0);
    check_found(NULL, NULL);
    CHECK(mkdir(".config", 0700) == 0 && mkdir(".config/holdfast", 0700) == 0);
    snprintf(path, sizeof(path), "%s/.config/holdfast/holdfast.yaml", folder);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    setenv("HOME", folder, 1);
    check_found(NULL, path);
    setenv("XDG_CONFIG_HOME", "/nowhere", 1);
    check_found(NULL, NULL);
    setenv("XDG_CONFIG_HOME", strcat(strcpy(here + 2048, folder), "/.config"), 1);
    check_found(NULL, path);
    close(open("holdfast.yaml", O_CREAT | O_WRONLY, 0600));
    check_found(NULL, "holdfast.yaml");
    setenv("HOLDFAST_CONFIG", "/is/missing", 1);
    check_found(NULL, "/is/missing");
    check_found("given", "given");
    CHECK(unlink(path) == 0 && unlink("holdfast.yaml") == 0);
    CHECK(rmdir(".config/holdfast") == 0 && rmdir(".config") == 0 && rmdir(folder) == 0);
    CHECK(chdir(here) == 0);
    clear_environment();
    if (home != NULL)
        setenv("HOME", home, 1);
    free(home);
}

/* --- what is printed --- */

static char *printed(void (*print)(const struct config *c, FILE *out), const struct config *c)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    print(c, f);
    fclose(f);
    return text;
}

TEST(the_printed_configuration_shows_what_applies_and_no_key)
{
    struct config *c;
    char *text;

    clear_environment();
    setenv("CONFIG_TEST_A", "sk-ant", 1);
    c = parse(everything);
    text = printed(config_print, c);
    CHECK_STR(
        text,
        "source       t\n"
        "listen       127.0.0.1:0, unix:/run/holdfast.sock\n"
        "admin        off\n"
        "clients      ci\n"
        "timeouts     connect 3s  tls 5s  first_token 25s  first_token_reasoning 120s  answer "
        "25s  idle 20s  idle_tools 180s  total 600s\n"
        "failover     max_attempts 6  per_target 1\n"
        "breaker      consecutive 3  window 20s  min_calls 4  failure_rate 0.25  open_base 1s "
        " open_cap 2s\n"
        "stream       heartbeat_after 10s  resume on\n"
        "replay       ttl 60s  answer 1MiB  memory 32MiB\n"
        "limits       request_body 64MiB  answer_body 1MiB  memory 2GiB  connections 7\n"
        "drain        delay 0s  timeout 30s\n"
        "log          debug, as text\n"
        "\n"
        "providers\n"
        "  openai       openai       https://api.openai.com/v1  1 key\n"
        "  claude       anthropic    https://api.anthropic.com  1 key\n"
        "  gemini       gemini       https://generativelanguage.googleapis.com  2 keys\n"
        "  local        openai       http://127.0.0.1:11434/v1  no key\n"
        "  far          azure        http://azure.example.com  1 key\n"
        "  notice       scripted     answers \"All providers are down. Ticket line: 4711.\"\n"
        "\n"
        "routes (the first that matches; its targets in this order, with the limits that "
        "differ)\n"
        "  gpt-4o\n"
        "     1. openai/gpt-4o\n"
        "     2. gemini/models/x\n"
        "     3. claude/(the client's model)\n"
        "     4. notice/x\n"
        "  fast-*\n"
        "     1. openai/gpt-4o-mini  first_token 20s  answer 90s  idle 90s\n"
        "     1. gemini/flash  weight 3  context_window 200000  first_token 60s  answer 60s  "
        "idle 90s\n"
        "     2. claude/claude-haiku  first_token 20s  answer 90s  idle 90s\n"
        "     3. local/(the client's model)  first_token 20s  answer 90s  idle 90s\n");
    free(text);
    config_free(c);
}

TEST(routes_with_the_same_targets_share_a_line)
{
    struct config *c;
    char *text;

    clear_environment();
    c = parse(PROVIDERS "routes:\n"
                        "- {model: a, targets: [p/x]}\n"
                        "- {model: b, targets: [p/x]}\n"
                        "- {model: c, targets: [p/y]}\n"
                        "- {model: d, targets: [p]}\n"
                        "- {model: e, targets: [{target: p, idle: 1s}]}\n"
                        "- {model: f, targets: [p], timeouts: {idle: 2s}}\n");
    text = printed(config_print, c);
    CHECK_STR(strstr(text, "  a, b"), "  a, b\n     1. p/x\n"
                                      "  c\n     1. p/y\n"
                                      "  d\n     1. p/(the client's model)\n"
                                      "  e\n     1. p/(the client's model)  idle 1s\n"
                                      "  f\n     1. p/(the client's model)  idle 2s\n");
    free(text);
    config_free(c);
}

static void print_manual(const struct config *c __attribute__((unused)), FILE *out)
{
    config_manual(out);
}

TEST(the_manual_has_every_key)
{
    char *text = printed(print_manual, NULL), line[128];
    size_t n;
    const struct option *rows = options_all(&n);

    for (size_t i = 0; i < n; i++) {
        bool chapter = strpbrk(rows[i].path, ".[*") == NULL;

        snprintf(line, sizeof(line), chapter ? "\n## %s\n" : "\n| `%s` | ", rows[i].path);
        if (strstr(text, line) == NULL)
            fail_msg("%s", line);
    }
    CHECK(strstr(text,
                 "| `timeouts.idle` | 1ms to 24h | `20s` | reload | `HOLDFAST_TIMEOUTS_IDLE` | "
                 "longest silence inside a streamed answer |\n") != NULL);
    CHECK(strstr(text, "Not available in 0.1.0 yet: `drain` |\n") != NULL);
    free(text);
}

static void print_page(const struct config *c __attribute__((unused)), FILE *out)
{
    config_manual_page(out);
}

TEST(the_man_page_has_every_key)
{
    char *text = printed(print_page, NULL), line[128];
    size_t n;
    const struct option *rows = options_all(&n);

    for (size_t i = 0; i < n; i++) {
        snprintf(line, sizeof(line), ".TP\n\\fB%s\\fR\n", rows[i].path);
        if (strstr(text, line) == NULL)
            fail_msg("%s", line);
    }
    CHECK(strstr(text, "\\fBtimeouts.idle\\fR\n"
                       "Longest silence inside a streamed answer.\n"
                       "Takes 1ms to 24h; default \\fB20s\\fR; changed by a reload; "
                       "\\fBHOLDFAST_TIMEOUTS_IDLE\\fR.\n") != NULL);
    free(text);
}

TEST_MAIN()
