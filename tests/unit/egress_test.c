#include "config/egress.h"

#include "tests/unit/check.h"

/* What is set: name, value, name, value, and NULL. */
static const char *const *set;

static char *variable(const char *name)
{
    for (size_t i = 0; set[i] != NULL; i += 2)
        if (strcmp(set[i], name) == 0)
            return (char *)set[i + 1]; /* as getenv has it */
    return NULL;
}

#define SET(...) (set = (const char *const[]){__VA_ARGS__, NULL})

/* The name of the proxy; "" where there is none. */
static const char *found(bool https)
{
    static struct egress x;
    struct err e;

    egress_release(&x);
    CHECK_INT(egress_find(https, variable, &x, &e), 0);
    return x.name;
}

static const char *complaint(const char *url)
{
    static struct err e;
    struct egress x = {.name = "untouched"};

    SET("https_proxy", url);
    CHECK_INT(egress_find(true, variable, &x, &e), -1);
    CHECK_STR(x.name, "untouched");
    return e.msg;
}

TEST(each_scheme_has_its_variable_in_either_case)
{
    SET("HTTPS_PROXY", "http://a:1", "HTTP_PROXY", "http://b:2");
    CHECK_STR(found(true), "a:1 (HTTPS_PROXY)");
    CHECK_STR(found(false), "b:2 (HTTP_PROXY)");
    SET("https_proxy", "http://a:1", "http_proxy", "http://b:2");
    CHECK_STR(found(true), "a:1 (https_proxy)");
    CHECK_STR(found(false), "b:2 (http_proxy)");
    SET("HTTPS_PROXY", "http://a:1");
    CHECK_STR(found(false), "");
    SET("HTTP_PROXY", "http://a:1");
    CHECK_STR(found(true), "");
}

TEST(lower_case_goes_first_and_the_one_for_all_last)
{
    SET("ALL_PROXY", "d:1", "all_proxy", "c:1", "HTTPS_PROXY", "b:1", "https_proxy", "a:1");
    CHECK_STR(found(true), "a:1 (https_proxy)");
    CHECK_STR(found(false), "c:1 (all_proxy)");
    SET("ALL_PROXY", "d:1", "HTTPS_PROXY", "b:1");
    CHECK_STR(found(true), "b:1 (HTTPS_PROXY)");
    CHECK_STR(found(false), "d:1 (ALL_PROXY)");
}

TEST(an_empty_variable_is_not_set)
{
    SET("https_proxy", "", "HTTPS_PROXY", "a:1");
    CHECK_STR(found(true), "a:1 (HTTPS_PROXY)");
    SET("https_proxy", "", "ALL_PROXY", "");
    CHECK_STR(found(true), "");
}

TEST(a_name_is_host_and_port_and_no_password)
{
    struct egress x;
    struct err e;

    SET("https_proxy", "http://user:p%40ss:word@office.test:3128/");
    CHECK_INT(egress_find(true, variable, &x, &e), 0);
    CHECK_STR(x.name, "office.test:3128 (https_proxy)");
    CHECK_STR(x.url, "http://user:p%40ss:word@office.test:3128/");
    CHECK(span_is(x.password, "p%40ss:word"));
    egress_release(&x);
    CHECK(x.url == NULL);
    SET("https_proxy", "user@office");
    CHECK_INT(egress_find(true, variable, &x, &e), 0);
    CHECK_STR(x.name, "office:1080 (https_proxy)");
    CHECK_INT(x.password.n, 0);
    egress_release(&x);
    SET("https_proxy", "HTTP://[::1]:8080");
    CHECK_STR(found(true), "[::1]:8080 (https_proxy)");
}

TEST(what_a_proxy_speaks)
{
    static const struct {
        const char *url;
        const char *name;
        bool socks, tls;
    } rows[] = {
        {"office", "office:1080 (https_proxy)", false, false},
        {"http://office", "office:1080 (https_proxy)", false, false},
        {"https://office", "office:443 (https_proxy)", false, true},
        {"socks4://office", "office:1080 (https_proxy)", true, false},
        {"socks4a://office", "office:1080 (https_proxy)", true, false},
        {"socks5://office", "office:1080 (https_proxy)", true, false},
        {"SOCKS5H://office:9", "office:9 (https_proxy)", true, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct egress x;
        struct err e;

        SET("https_proxy", rows[i].url);
        CHECK_INT(egress_find(true, variable, &x, &e), 0);
        CHECK_STR(x.name, rows[i].name);
        CHECK(x.socks == rows[i].socks && x.tls == rows[i].tls);
        egress_release(&x);
    }
}

TEST(what_is_no_proxy_is_named_but_for_a_password)
{
    CHECK_STR(complaint("http://office:99999"),
              "https_proxy: \"http://office:99999\" has a port that is not 1 to 65535; expected a "
              "proxy such as http://office:3128");
    CHECK(strstr(complaint("ftp://office"), "is no URL of http, https, socks4") != NULL);
    CHECK(strstr(complaint("http://"), "has no valid host") != NULL);
    CHECK(strstr(complaint("http://off ice:1"), "has no valid host") != NULL);
    CHECK(strstr(complaint("http://office:1/path"), "has a path") != NULL);
    CHECK(strstr(complaint("http://user:12/hidden@office:1"), "hidden") == NULL);
    CHECK(strstr(complaint("http://user:hidden@office:x"), "hidden") == NULL);
}

TEST_MAIN()
