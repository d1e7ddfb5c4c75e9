#include "proxy/quota.h"

#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/check.h"

#define T0 1000000

static const uint8_t ann[HASH_SHA256_BYTES] = {1}, bob[HASH_SHA256_BYTES] = {2};

struct asked {
    struct quota_store *s;
    struct quota_limits limits;
    struct quota_ticket ticket;
    struct quota_view view;
};

static enum quota_verdict take(struct asked *a, const uint8_t *who, uint64_t tokens, uint64_t now)
{
    a->ticket = (struct quota_ticket){0};
    return quota_take(a->s, who, &a->limits, tokens, now, &a->ticket, &a->view);
}

static struct asked with(uint64_t requests, uint64_t tokens, unsigned at_once)
{
    return (struct asked){.s = quota_store_new(), .limits = {requests, tokens, at_once}};
}

TEST(no_sixty_seconds_see_more_requests_than_the_limit)
{
    struct asked a = with(3, 0, 0);

    CHECK_INT(take(&a, ann, 0, T0), QUOTA_GRANTED);
    CHECK_INT(a.view.requests_left, 2);
    CHECK_INT(take(&a, ann, 0, T0 + 20000), QUOTA_GRANTED);
    CHECK_INT(take(&a, ann, 0, T0 + 20500), QUOTA_GRANTED);
    CHECK_INT(take(&a, ann, 0, T0 + 20500), QUOTA_REQUESTS);
    CHECK(a.ticket.state == NULL);
    CHECK_INT(take(&a, bob, 0, T0 + 20500), QUOTA_GRANTED); /* each for itself */
    CHECK_INT(take(&a, ann, 0, T0 + 59999), QUOTA_REQUESTS);
    CHECK_INT(take(&a, ann, 0, T0 + 60999),
              QUOTA_REQUESTS); /* never early: the second is not over */
    CHECK_INT(a.view.wait_ms, 1);
    CHECK_INT(take(&a, ann, 0, T0 + 61000), QUOTA_GRANTED);
    CHECK_INT(take(&a, ann, 0, T0 + 61000), QUOTA_REQUESTS);
    CHECK_INT(a.view.wait_ms, 20000);
    quota_store_free(a.s);
}

TEST(who_waits_as_long_as_told_is_granted)
{
    struct asked a = with(5, 0, 0);
    uint64_t now = T0;

    for (unsigned i = 0; i < 200; i++) {
        if (take(&a, ann, 0, now) == QUOTA_GRANTED) {
            now += 1 + i * 977 % 9000;
            continue;
        }
        CHECK(a.view.wait_ms > 0 && a.view.wait_ms <= 61000);
        now += a.view.wait_ms - 1;
        CHECK_INT(take(&a, ann, 0, now), QUOTA_REQUESTS);
        now += 1;
        CHECK_INT(take(&a, ann, 0, now), QUOTA_GRANTED);
    }
    quota_store_free(a.s);
}

TEST(tokens_count_as_guessed_until_they_are_known)
{
    struct asked a = with(0, 100, 0);
    struct quota_ticket first;

    CHECK_INT(take(&a, ann, 60, T0), QUOTA_GRANTED);
    first = a.ticket;
    CHECK_INT(take(&a, ann, 41, T0), QUOTA_TOKENS);
    CHECK_INT(a.view.tokens_left, 40);
    quota_give(a.s, &first, 10, T0 + 5000); /* they were fewer */
    CHECK_INT(take(&a, ann, 90, T0 + 5000), QUOTA_GRANTED);
    first = a.ticket;
    CHECK_INT(a.view.tokens_left, 0);
    quota_give(a.s, &first, 500, T0 + 6000); /* and now more */
    CHECK_INT(take(&a, ann, 0, T0 + 6000), QUOTA_TOKENS);
    CHECK_INT(a.view.tokens_left, 0);
    CHECK_INT(take(&a, ann, 1, T0 + 66999), QUOTA_TOKENS);
    CHECK_INT(take(&a, ann, 1, T0 + 67000), QUOTA_GRANTED);
    quota_store_free(a.s);
}

TEST(a_request_larger_than_the_limit_goes_when_nothing_else_does)
{
    struct asked a = with(0, 100, 0);

    CHECK_INT(take(&a, ann, 100000, T0), QUOTA_GRANTED);
    CHECK_INT(take(&a, ann, 100000, T0), QUOTA_TOKENS);
    CHECK_INT(take(&a, ann, 100000, T0 + a.view.wait_ms), QUOTA_GRANTED);
    quota_store_free(a.s);
}

TEST(a_request_that_lasts_longer_than_the_window_is_settled_all_the_same)
{
    struct asked a = with(0, 100, 0);
    struct quota_ticket late;

    CHECK_INT(take(&a, ann, 100, T0), QUOTA_GRANTED);
    late = a.ticket;
    CHECK_INT(take(&a, ann, 100, T0 + 61000), QUOTA_GRANTED); /* the slot is another second's now */
    quota_give(a.s, &a.ticket, 0, T0 + 61000);
    quota_give(a.s, &late, 30, T0 + 61000);
    CHECK_INT(take(&a, ann, 71, T0 + 61000), QUOTA_TOKENS);
    CHECK_INT(take(&a, ann, 70, T0 + 61000), QUOTA_GRANTED);
    quota_store_free(a.s);
}

TEST(so_many_at_once_and_no_more)
{
    struct asked a = with(0, 0, 2);
    struct quota_ticket first;

    CHECK_INT(take(&a, ann, 0, T0), QUOTA_GRANTED);
    first = a.ticket;
    CHECK_INT(take(&a, ann, 0, T0), QUOTA_GRANTED);
    CHECK_INT(take(&a, ann, 0, T0 + 100000), QUOTA_AT_ONCE);
    CHECK_INT(a.view.wait_ms, 1000);
    quota_give(a.s, &first, 0, T0 + 100000);
    quota_give(a.s, &first, 0, T0 + 100000); /* an empty ticket is fine */
    CHECK_INT(take(&a, ann, 0, T0 + 100000), QUOTA_GRANTED);
    CHECK_INT(take(&a, ann, 0, T0 + 100000), QUOTA_AT_ONCE);
    quota_store_free(a.s);
}

#define THREADS 8

static struct asked shared;
static atomic_uint granted;

static void *ask_often(void *ctx)
{
    struct quota_ticket t;
    struct quota_view v;

    for (unsigned i = 0; i < 1000; i++)
        if (quota_take(shared.s, ann, &shared.limits, 1, T0, &t, &v) == QUOTA_GRANTED) {
            granted++;
            quota_give(shared.s, &t, 1, T0);
        }
    return ctx;
}

TEST(threads_together_get_exactly_the_limit)
{
    pthread_t threads[THREADS];

    shared = with(777, 0, 0);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, ask_often, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(granted, 777);
    quota_store_free(shared.s);
}

TEST(fields_tell_limit_rest_and_when_all_is_back)
{
    struct asked a = with(10, 1000, 3);
    struct strbuf out = strbuf_heap(1000);

    CHECK_INT(take(&a, ann, 250, T0), QUOTA_GRANTED);
    quota_fields(&a.view, &out);
    CHECK_STR(out.buf, "x-ratelimit-limit-requests: 10\r\nx-ratelimit-remaining-requests: 9\r\n"
                       "x-ratelimit-reset-requests: 61s\r\nx-ratelimit-limit-tokens: 1000\r\n"
                       "x-ratelimit-remaining-tokens: 750\r\nx-ratelimit-reset-tokens: 61s\r\n");
    strbuf_release(&out);
    quota_store_free(a.s);
}

TEST_MAIN()
