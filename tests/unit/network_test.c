#include "config/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/unit/check.h"

static bool has(const char *network, const char *address)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct network n;
    struct err e;

    CHECK_INT(network_parse(network, &n, &e), 0);
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return network_has(&n, (struct sockaddr *)&v4);
    CHECK_INT(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return network_has(&n, (struct sockaddr *)&v6);
}

TEST(a_network_has_what_begins_as_it_does)
{
    CHECK(has("10.0.0.0/8", "10.255.1.2") && !has("10.0.0.0/8", "11.0.0.1"));
    CHECK(has("192.168.4.0/22", "192.168.7.255") && !has("192.168.4.0/22", "192.168.8.0"));
    CHECK(has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.6"));
    CHECK(has("0.0.0.0/0", "203.0.113.9") && !has("0.0.0.0/0", "2001:db8::1"));
    CHECK(has("2001:db8::/33", "2001:db8:7fff::1") && !has("2001:db8::/33", "2001:db8:8000::1"));
    CHECK(has("::1", "::1") && !has("::1", "::2"));
    CHECK(has("10.0.0.0/8", "::ffff:10.1.2.3") && !has("10.0.0.0/8", "::ffff:11.1.2.3"));
}

TEST(loopback_is_known_in_all_its_forms)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr = {htonl(0x7f010203)}};
    struct sockaddr_un_like {
        sa_family_t family;
    } other = {AF_UNIX};

    CHECK(network_is_loopback((struct sockaddr *)&v4));
    v4.sin_addr.s_addr = htonl(0x80000001);
    CHECK(!network_is_loopback((struct sockaddr *)&v4));
    CHECK(!network_is_loopback((struct sockaddr *)&other));
}

TEST(what_is_no_network_is_refused)
{
    static const char *const bad[] = {"",          "10",          "10.0.0.0/33",
                                      "10.0.0.0/", "10.0.0.0/8x", "10.0.0/8",
                                      "::/129",    "localhost",   "10.0.0.0/-1"};
    struct network n;
    struct err e;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (network_parse(bad[i], &n, &e) == 0)
            fail_msg("%s is taken", bad[i]);
        else
            CHECK(strstr(e.msg, "such as 10.0.0.0/8") != NULL);
    CHECK_INT(network_parse("10.1.0.0/8", &n, &e), -1);
    CHECK_STR(e.msg, "has bits behind its length of 8; expected 0 there");
}

TEST_MAIN()
