/* The decision core, from the first output on: output that is held back, and answers that break and
 * are carried on. What comes before is in failover_test.c. */
#include "proxy/failover.h"

#include "tests/unit/world.h"

#define PREFILL  SEAM_BIT(SEAM_PREFILL)
#define TURN     SEAM_BIT(SEAM_TURN)
#define ALIGN    SEAM_BIT(SEAM_ALIGN)
#define ALL_WAYS (PREFILL | TURN | ALIGN)

#define FOUR                                                                                       \
    HEALTH PROVIDERS PROVIDER("a", "k0") PROVIDER("b", "k0") PROVIDER("c", "k0")                   \
        PROVIDER("d", "k0") ROUTE("a/x, b/x, c/x, d/x")
#define TWO_OF_ONE_HOST                                                                            \
    HEALTH PROVIDERS PROVIDER("a", "k0") PROVIDER("b", "k0") ROUTE("a/x, a/y, b/x")
#define POOR(capacity)                                                                             \
    HEALTH "retry_budget: {ratio: 0, capacity: " capacity "}\n" PROVIDERS PROVIDER("a", "k0")      \
        PROVIDER("b", "k0") PROVIDER("c", "k0") ROUTE("a/x, b/x, c/x")

/* Every target can be asked in every way. */
static struct world carrying(const char *yaml)
{
    struct world w = world_new(yaml);

    for (size_t i = 0; i < ARRAY_LEN(w.ways); i++)
        w.ways[i] = ALL_WAYS;
    w.policy.total_ms = 100000;
    return w;
}

static void output(struct world *w, enum failover_hold hold)
{
    step(w, (struct failover_event){.kind = FAILOVER_OUTPUT,
                                    .try = w->f.live[FIRST],
                                    .retry_after_ms = RETRY_AFTER_NONE,
                                    .hold = hold});
}

/* The first target's answer begins, and the client has a part of it. */
static void begin_answer(struct world *w)
{
    begin(w);
    act(w, FAILOVER_CONNECTED);
    output(w, HOLD_NOT);
    CHECK_ORDERS(w, "commit");
}

/* The live try fails, and what the client has can be carried on in these ways. */
static void cut(struct world *w, enum failure why, unsigned ways)
{
    step(w, (struct failover_event){.kind = FAILOVER_FAILED,
                                    .try = w->f.live[FIRST],
                                    .failure = why,
                                    .retry_after_ms = RETRY_AFTER_NONE,
                                    .ways = ways});
}

static void tick_with_ways(struct world *w, uint64_t now, unsigned ways)
{
    w->now = now;
    step(w, (struct failover_event){
                .kind = FAILOVER_TICK, .retry_after_ms = RETRY_AFTER_NONE, .ways = ways});
}

/* Who is asked to go on, and how: "b/x turn". */
static const char *carries(const struct world *w)
{
    static const char *const ways[] = {"prefill", "turn", "align"};
    static char text[64];
    const struct failover_try *t = last_try(w);

    CHECK(t->carries_on && t->phase == PHASE_CONNECTING && w->f.live[FIRST] >= 0);
    CHECK(&w->f.tries[w->f.live[FIRST]] == t && w->f.live[BESIDE] < 0);
    snprintf(text, sizeof(text), "%s %s", asked(w), ways[t->way]);
    return text;
}

/* The error inside the answer is this one. */
static void check_broken(const struct world *w, int verdict, enum failure why)
{
    CHECK_INT(w->f.verdict, verdict);
    CHECK_INT(failover_outcome(&w->f), why);
    CHECK(w->f.ended);
}

/* No try has left anything behind at its target. */
static void check_all_given_back(const struct world *w)
{
    for (size_t i = 0; i < w->set->n_targets; i++) {
        CHECK_INT(atomic_load(&w->set->targets[i].in_flight), 0);
        CHECK_INT(w->set->targets[i].streaming, 0);
    }
}

/* ---- who goes on, and how ------------------------------------------------------------------- */

TEST(a_cut_answer_is_carried_on_by_the_next_target)
{
    struct world w = carrying(THREE);

    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(carries(&w), "b/x prefill");
    CHECK_INT(w.f.owner, 0);
    CHECK_INT(w.f.cut, 0);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_NOT);
    CHECK_ORDERS(&w, "commit");
    CHECK_INT(w.orders.v[0].try, 1);
    CHECK_INT(w.f.owner, 1);
    complete(&w);
    CHECK_ORDERS(&w, "finish");
    CHECK_INT(failover_outcome(&w.f), FAILURE_NONE);
    check_all_given_back(&w);
    world_release(&w);
}

TEST(an_answer_that_nobody_began_is_no_carrying_on)
{
    struct world w = carrying(TWO);

    begin(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_ORDERS(&w, "try");
    CHECK(!last_try(&w)->carries_on);
    world_release(&w);
}

TEST(nothing_of_who_goes_on_is_sent_before_it_fits)
{
    struct world w = carrying(TWO);

    begin_answer(&w);
    cut(&w, RESET, ALL_WAYS);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_ALL);
    CHECK_ORDERS(&w, "");
    CHECK_INT(w.f.owner, 0);
    act(&w, FAILOVER_PROGRESS);
    CHECK_ORDERS(&w, "");
    output(&w, HOLD_NOT);
    CHECK_ORDERS(&w, "commit");
    output(&w, HOLD_NOT);
    CHECK_ORDERS(&w, ""); /* once */
    world_release(&w);
}

TEST(what_fits_only_at_its_end_is_committed_and_finished)
{
    struct world w = carrying(TWO);

    begin_answer(&w);
    cut(&w, RESET, ALL_WAYS);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_ALL);
    complete(&w);
    CHECK_ORDERS(&w, "commit finish");
    CHECK_INT(w.f.owner, 1);
    check_all_given_back(&w);
    world_release(&w);
}

TEST(who_refuses_one_way_is_asked_in_the_next)
{
    struct world w = carrying(THREE);

    w.policy.per_target = 3;
    w.policy.max_attempts = 8;
    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "b/x prefill");
    cut(&w, CARRY_REFUSED, ALL_WAYS);
    CHECK_STR(carries(&w), "b/x turn");
    cut(&w, CARRY_REFUSED, ALL_WAYS);
    CHECK_STR(carries(&w), "b/x align");
    cut(&w, CARRY_REFUSED, ALL_WAYS);
    CHECK_STR(carries(&w), "c/x prefill"); /* b has no way left, and no try */
    world_release(&w);
}

TEST(who_refused_a_way_and_has_no_try_left_is_not_asked_again)
{
    struct world w = carrying(THREE);

    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    cut(&w, CARRY_REFUSED, ALL_WAYS);
    CHECK_STR(carries(&w), "b/x turn");
    cut(&w, CARRY_REFUSED, ALL_WAYS);
    CHECK_STR(carries(&w), "c/x prefill");
    world_release(&w);
}

/* It refuses a parameter, and is asked without it. */
static void refuse_parameter(struct world *w)
{
    step(w, (struct failover_event){.kind = FAILOVER_FAILED,
                                    .try = w->f.live[FIRST],
                                    .failure = UNSUPPORTED,
                                    .status = 400,
                                    .retry_after_ms = RETRY_AFTER_NONE,
                                    .mended = true,
                                    .ways = ALL_WAYS});
}

TEST(who_takes_the_request_in_other_words_is_asked_again_in_the_same_way)
{
    struct world w = carrying(THREE);

    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "b/x prefill");
    refuse_parameter(&w);
    CHECK_STR(carries(&w), "b/x prefill");
    refuse_parameter(&w);
    CHECK_STR(carries(&w), "c/x prefill"); /* b has had its tries */
    world_release(&w);
}

TEST(no_way_is_asked_twice_of_one_target)
{
    struct world w = carrying(ONE);

    w.policy.per_target = 5;
    w.policy.max_attempts = 8;
    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "a/x prefill");
    cut(&w, SEAM_MISMATCH, ALL_WAYS);
    CHECK_STR(carries(&w), "a/x turn");
    cut(&w, SEAM_MISMATCH, ALL_WAYS);
    CHECK_STR(carries(&w), "a/x align");
    cut(&w, SEAM_MISMATCH, ALL_WAYS);
    CHECK_ORDERS(&w, "break");
    check_broken(&w, 0, TRUNCATED);
    world_release(&w);
}

TEST(what_does_not_fit_is_followed_by_another_target)
{
    struct world w = carrying(THREE);

    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_ALL);
    cut(&w, SEAM_MISMATCH, ALL_WAYS);
    CHECK_STR(carries(&w), "c/x prefill");
    world_release(&w);
}

TEST(when_all_have_been_asked_the_one_that_broke_may_go_on)
{
    struct world w = carrying(TWO);

    w.policy.per_target = 3;
    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    cut(&w, SEAM_MISMATCH, ALL_WAYS);
    CHECK_STR(carries(&w), "a/x prefill");
    cut(&w, SEAM_MISMATCH, ALL_WAYS);
    CHECK_STR(carries(&w), "a/x turn");
    cut(&w, SEAM_MISMATCH, ALL_WAYS);
    CHECK_ORDERS(&w, "break"); /* four calls */
    check_broken(&w, 0, TRUNCATED);
    check_all_given_back(&w);
    world_release(&w);
}

TEST(a_way_must_suit_both_the_target_and_what_the_client_has)
{
    struct world w = carrying(FOUR);

    w.ways[1] = 0; /* cannot be asked */
    w.ways[2] = PREFILL;
    w.ways[3] = TURN | ALIGN;
    begin_answer(&w);
    cut(&w, TRUNCATED, TURN | ALIGN);
    CHECK_STR(carries(&w), "d/x turn");
    cut(&w, TRUNCATED, ALIGN);
    CHECK_STR(carries(&w), "a/x align"); /* nobody is left who was not asked */
    world_release(&w);
}

TEST(a_target_that_takes_no_such_message_at_the_end_is_asked_in_another_way)
{
    struct world w = carrying(THREE);

    atomic_store(&w.set->targets[1].no_prefill_ms, w.now);
    w.ways[2] = PREFILL;
    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "b/x turn");
    world_release(&w);
}

TEST(a_target_that_only_knows_a_refused_way_is_passed_over)
{
    struct world w = carrying(THREE);

    atomic_store(&w.set->targets[1].no_prefill_ms, w.now);
    w.ways[1] = PREFILL;
    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "c/x prefill");
    world_release(&w);
}

TEST(a_target_that_cannot_serve_the_request_does_not_go_on_with_its_answer)
{
    struct world w = carrying(THREE);

    w.unfit = 1u << 1;
    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "c/x prefill");
    world_release(&w);
}

TEST(a_target_that_rests_is_passed_over)
{
    struct world w = carrying(THREE);

    w.unfit = 1u << 0 | 1u << 2;
    begin(&w);
    fail_with(&w, AUTH); /* another request finds b's key refused */
    w.unfit = 0;
    begin_answer(&w);
    CHECK_STR(asked(&w), "a/x");
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "c/x prefill");
    world_release(&w);
}

TEST(another_model_of_an_endpoint_that_failed_goes_on_only_after_the_others)
{
    struct world w = carrying(TWO_OF_ONE_HOST);

    begin_answer(&w);
    cut(&w, RESET, ALL_WAYS);
    CHECK_STR(carries(&w), "b/x prefill");
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "a/y prefill"); /* before those that had their try */
    world_release(&w);
}

TEST(another_model_of_an_endpoint_that_is_well_goes_on_in_its_turn)
{
    struct world w = carrying(TWO_OF_ONE_HOST);

    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "a/y prefill");
    world_release(&w);
}

TEST(a_target_that_was_slow_goes_on_only_after_the_others)
{
    struct world w = carrying(THREE);

    w.unfit = 1u << 0;
    w.policy.hedge_ms = 100;
    begin(&w);
    tick_at(&w, w.now + 100, true);
    act_on(&w, BESIDE, FAILOVER_OUTPUT);
    CHECK_ORDERS(&w, "drop commit");
    complete(&w);
    CHECK(target_behind(&w.set->targets[1], w.now));
    w.unfit = 0;
    w.policy.hedge_ms = FAILOVER_HEDGE_OFF;
    begin_answer(&w);
    CHECK_STR(asked(&w), "a/x");
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "c/x prefill");
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "b/x prefill"); /* before a, which had its try */
    world_release(&w);
}

TEST(a_failure_that_may_pass_is_not_waited_out)
{
    struct world w = carrying(THREE);

    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    cut(&w, SERVER_ERROR, ALL_WAYS); /* before the commit the same target would be tried again */
    CHECK_STR(carries(&w), "c/x prefill");
    CHECK_INT(w.f.wait_until_ms, 0);
    world_release(&w);
}

/* ---- what breaks it off ---------------------------------------------------------------------- */

TEST(what_cannot_be_carried_on_breaks_off)
{
    struct world w = carrying(TWO);

    begin_answer(&w);
    cut(&w, TRUNCATED, 0);
    CHECK_ORDERS(&w, "break");
    check_broken(&w, 0, TRUNCATED);
    check_all_given_back(&w);
    world_release(&w);
}

TEST(the_break_tells_what_broke_the_answer_and_not_who_failed_to_mend_it)
{
    struct world w = carrying(TWO);

    w.policy.per_target = 1;
    begin_answer(&w);
    cut(&w, RESET, ALL_WAYS);
    step(&w, (struct failover_event){.kind = FAILOVER_FAILED,
                                     .try = w.f.live[FIRST],
                                     .failure = RATE_LIMITED,
                                     .status = 429,
                                     .retry_after_ms = 7000,
                                     .ways = ALL_WAYS});
    CHECK_ORDERS(&w, "break");
    check_broken(&w, 0, RESET);
    CHECK(w.f.retry_after_ms == RETRY_AFTER_NONE);
    world_release(&w);
}

TEST(a_second_break_is_carried_on_too_and_then_is_the_one_that_is_told)
{
    struct world w = carrying(THREE);

    w.policy.per_target = 1;
    begin_answer(&w);
    cut(&w, RESET, ALL_WAYS);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_NOT);
    CHECK_ORDERS(&w, "commit");
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "c/x prefill");
    CHECK_INT(w.f.cut, 1);
    cut(&w, SEAM_MISMATCH, ALL_WAYS);
    CHECK_ORDERS(&w, "break");
    check_broken(&w, 1, TRUNCATED);
    check_all_given_back(&w);
    world_release(&w);
}

TEST(a_failure_that_no_target_can_mend_is_not_carried_on)
{
    static const enum failure kinds[] = {POLICY, BAD_REQUEST, CLIENT_ERROR, LOCAL};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = carrying(TWO);

        CHECK_INT(failure_row(kinds[i])->next, NEXT_NO);
        begin_answer(&w);
        cut(&w, kinds[i], ALL_WAYS);
        CHECK_ORDERS(&w, "break");
        check_broken(&w, 0, kinds[i]);
        world_release(&w);
    }
}

TEST(a_policy_refusal_by_who_should_go_on_ends_it)
{
    struct world w = carrying(THREE);

    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    cut(&w, POLICY, ALL_WAYS);
    CHECK_ORDERS(&w, "break");
    check_broken(&w, 0, TRUNCATED);
    world_release(&w);
}

TEST(an_answer_is_carried_on_while_a_third_of_the_time_is_left)
{
    struct world w = carrying(TWO), late = carrying(TWO);

    begin_answer(&w);
    w.now += 70000;
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_ORDERS(&w, "try");
    begin_answer(&late);
    late.now += 70001;
    cut(&late, TRUNCATED, ALL_WAYS);
    CHECK_ORDERS(&late, "break");
    check_broken(&late, 0, TRUNCATED);
    world_release(&late);
    world_release(&w);
}

TEST(an_answer_is_not_carried_on_when_the_calls_are_used_up)
{
    struct world w = carrying(THREE);

    w.policy.max_attempts = 2;
    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_ORDERS(&w, "try");
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_ORDERS(&w, "break");
    CHECK_INT(w.f.n_attempts, 2);
    world_release(&w);
}

TEST(a_target_goes_on_only_while_it_has_a_try_left)
{
    struct world w = carrying(ONE);

    w.policy.per_target = 1;
    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_ORDERS(&w, "break");
    world_release(&w);
}

TEST(an_answer_is_not_carried_on_without_time_for_a_try)
{
    struct world w = carrying(TWO);

    w.policy.total_ms = 12;
    begin_answer(&w);
    w.now += 3;
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_ORDERS(&w, "break");
    world_release(&w);
}

TEST(carrying_on_is_paid_from_the_retry_budget)
{
    struct world w = carrying(POOR("1")), none = carrying(POOR("0"));

    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_STR(carries(&w), "b/x prefill");
    cut(&w, TRUNCATED, ALL_WAYS);
    CHECK_ORDERS(&w, "break");
    begin_answer(&none);
    cut(&none, TRUNCATED, ALL_WAYS);
    CHECK_ORDERS(&none, "break"); /* also the first one, where a failover would be free */
    world_release(&none);
    world_release(&w);
}

TEST(carrying_on_after_a_stall_costs_twice)
{
    struct world w = carrying(POOR("1")), rich = carrying(POOR("2"));

    begin_answer(&w);
    tick_with_ways(&w, w.now + 20000, ALL_WAYS);
    CHECK_ORDERS(&w, "drop break");
    begin_answer(&rich);
    tick_with_ways(&rich, rich.now + 20000, ALL_WAYS);
    CHECK_ORDERS(&rich, "drop try");
    world_release(&rich);
    world_release(&w);
}

/* ---- silence --------------------------------------------------------------------------------- */

TEST(a_stalled_answer_is_dropped_and_carried_on)
{
    struct world w = carrying(TWO);

    begin_answer(&w);
    CHECK_INT(failover_due(&w.f), w.now + w.timers.idle);
    tick_with_ways(&w, w.now + w.timers.idle, ALL_WAYS);
    CHECK_ORDERS(&w, "drop try");
    CHECK_INT(w.orders.v[0].try, 0);
    CHECK_INT(w.orders.v[1].try, 1);
    CHECK_STR(carries(&w), "b/x prefill");
    CHECK_INT(w.f.tries[0].outcome, IDLE);
    world_release(&w);
}

TEST(a_stalled_answer_that_cannot_be_carried_on_is_broken_off)
{
    struct world w = carrying(TWO);

    begin_answer(&w);
    tick_with_ways(&w, w.now + w.timers.idle, 0);
    CHECK_ORDERS(&w, "drop break");
    check_broken(&w, 0, IDLE);
    world_release(&w);
}

TEST(who_should_go_on_and_says_nothing_has_its_own_limits)
{
    struct world w = carrying(FOUR);

    w.policy.total_ms = 600000;
    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    tick_with_ways(&w, w.now + w.timers.connect, ALL_WAYS);
    CHECK_ORDERS(&w, "drop try");
    CHECK_INT(w.f.tries[1].outcome, CONNECT_TIMEOUT);
    CHECK_STR(carries(&w), "c/x prefill");
    act(&w, FAILOVER_CONNECTED);
    tick_with_ways(&w, w.now + w.timers.first_output, ALL_WAYS);
    CHECK_ORDERS(&w, "drop try");
    CHECK_INT(w.f.tries[2].outcome, FIRST_TOKEN);
    CHECK_STR(carries(&w), "d/x prefill");
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_ALL);
    tick_with_ways(&w, w.now + w.timers.idle, ALL_WAYS);
    CHECK_ORDERS(&w, "drop break"); /* four calls; a held answer stalls as others do */
    CHECK_INT(w.f.tries[3].outcome, IDLE);
    check_broken(&w, 0, TRUNCATED);
    check_all_given_back(&w);
    world_release(&w);
}

TEST(who_goes_on_has_no_hedge)
{
    struct world w = carrying(THREE);

    w.policy.hedge_ms = 100;
    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    act(&w, FAILOVER_CONNECTED);
    CHECK(w.f.hedge_at_ms == UINT64_MAX);
    tick_with_ways(&w, w.now + 1000, ALL_WAYS);
    CHECK_ORDERS(&w, "");
    CHECK_INT(w.f.live[BESIDE], -1);
    world_release(&w);
}

TEST(an_answer_that_only_lacks_its_end_marker_is_whole_also_where_it_goes_on)
{
    struct world w = carrying(TWO);

    begin_answer(&w);
    cut(&w, TRUNCATED, ALL_WAYS);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_ALL);
    act(&w, FAILOVER_STOPPED);
    CHECK_ORDERS(&w, "");
    tick_with_ways(&w, failover_due(&w.f), ALL_WAYS);
    CHECK_ORDERS(&w, "commit finish");
    world_release(&w);
}

/* ---- the request's own end while it is carried on -------------------------------------------- */

/* As far as each of these, and then the end comes. */
enum stage { ASKED, WAITING, HELD, STAGES };

static void carry_as_far_as(struct world *w, enum stage stage)
{
    begin_answer(w);
    cut(w, TRUNCATED, ALL_WAYS);
    if (stage >= WAITING)
        act(w, FAILOVER_CONNECTED);
    if (stage >= HELD)
        output(w, HOLD_ALL);
}

TEST(a_client_that_leaves_meanwhile_leaves_nothing_behind)
{
    for (enum stage stage = ASKED; stage < STAGES; stage++) {
        struct world w = carrying(TWO);

        carry_as_far_as(&w, stage);
        act(&w, FAILOVER_GONE);
        CHECK_ORDERS(&w, "drop");
        CHECK_INT(failover_outcome(&w.f), CLIENT_GONE);
        CHECK_INT(w.f.tries[1].outcome, CLIENT_GONE);
        check_all_given_back(&w);
        world_release(&w);
    }
}

TEST(the_programs_end_breaks_off_what_is_carried_on)
{
    for (enum stage stage = ASKED; stage < STAGES; stage++) {
        struct world w = carrying(TWO);

        carry_as_far_as(&w, stage);
        act(&w, FAILOVER_STOP);
        CHECK_ORDERS(&w, "drop break");
        check_broken(&w, 1, STOPPING);
        check_all_given_back(&w);
        world_release(&w);
    }
}

TEST(the_deadline_breaks_off_what_is_carried_on)
{
    for (enum stage stage = ASKED; stage < STAGES; stage++) {
        struct world w = carrying(TWO);

        w.timers.connect = w.timers.tls = w.timers.first_output = w.timers.idle = 200000;
        carry_as_far_as(&w, stage);
        CHECK_INT(failover_due(&w.f), T0 + 100000);
        tick_with_ways(&w, T0 + 100000, ALL_WAYS);
        CHECK_ORDERS(&w, "drop break");
        check_broken(&w, 1, DEADLINE);
        check_all_given_back(&w);
        world_release(&w);
    }
}

TEST(the_programs_end_finishes_what_only_lacks_its_end_marker)
{
    struct world w = carrying(TWO);

    carry_as_far_as(&w, HELD);
    act(&w, FAILOVER_STOPPED);
    act(&w, FAILOVER_STOP);
    CHECK_ORDERS(&w, "commit finish");
    world_release(&w);
}

/* ---- output that is held back ---------------------------------------------------------------- */

TEST(held_output_wins_but_is_not_committed)
{
    struct world w = carrying(THREE);

    w.policy.hedge_ms = 100;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    tick_at(&w, w.now + 100, true);
    CHECK_ORDERS(&w, "try");
    output(&w, HOLD_ALL);
    CHECK_ORDERS(&w, "drop");
    CHECK_INT(w.f.tries[1].outcome, HEDGE_LOST);
    CHECK(!w.f.committed && w.f.owner < 0);
    tick_at(&w, w.now + 5000, true);
    CHECK_ORDERS(&w, ""); /* nobody else is asked while it goes on */
    output(&w, HOLD_NOT);
    CHECK_ORDERS(&w, "commit");
    world_release(&w);
}

TEST(a_hedge_whose_output_is_held_has_won_too)
{
    struct world w = carrying(THREE);

    w.policy.hedge_ms = 100;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    tick_at(&w, w.now + 100, true);
    act_on(&w, BESIDE, FAILOVER_CONNECTED);
    step(&w, (struct failover_event){.kind = FAILOVER_OUTPUT,
                                     .try = w.f.live[BESIDE],
                                     .retry_after_ms = RETRY_AFTER_NONE,
                                     .hold = HOLD_WINDOW});
    CHECK_ORDERS(&w, "drop");
    CHECK_INT(w.f.tries[0].outcome, SLOWER);
    CHECK_STR(asked(&w), "b/x");
    world_release(&w);
}

TEST(a_failure_of_held_output_is_invisible)
{
    static const enum failover_hold holds[] = {HOLD_WINDOW, HOLD_ALL};

    for (size_t i = 0; i < ARRAY_LEN(holds); i++) {
        struct world w = carrying(TWO);

        w.policy.window_ms = 1000;
        w.policy.per_target = 1;
        begin(&w);
        act(&w, FAILOVER_CONNECTED);
        output(&w, holds[i]);
        cut(&w, TRUNCATED, ALL_WAYS);
        CHECK_ORDERS(&w, "try");
        CHECK_STR(asked(&w), "b/x");
        CHECK(!last_try(&w)->carries_on); /* the client has nothing yet */
        act(&w, FAILOVER_CONNECTED);
        output(&w, holds[i]);
        cut(&w, TRUNCATED, ALL_WAYS);
        CHECK_ORDERS(&w, "refuse");
        check_all_given_back(&w);
        world_release(&w);
    }
}

TEST(who_lost_to_held_output_may_be_asked_again_when_that_fails)
{
    struct world w = carrying(TWO);

    w.policy.hedge_ms = 100;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    tick_at(&w, w.now + 100, true);
    output(&w, HOLD_ALL);
    CHECK_ORDERS(&w, "drop");
    cut(&w, MODEL_GONE, ALL_WAYS);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "b/x"); /* it has not failed */
    CHECK(!last_try(&w)->carries_on);
    world_release(&w);
}

TEST(held_output_that_stalls_is_invisible_too)
{
    struct world w = carrying(TWO);

    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_ALL);
    CHECK_INT(failover_due(&w.f), w.now + w.timers.idle);
    tick_with_ways(&w, w.now + w.timers.idle, ALL_WAYS);
    CHECK_ORDERS(&w, "drop try");
    CHECK(!last_try(&w)->carries_on);
    world_release(&w);
}

TEST(an_answer_that_is_held_in_all_is_committed_when_it_is_complete)
{
    struct world w = carrying(TWO);

    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_ALL);
    tick_at(&w, w.now + 19000, true);
    CHECK_ORDERS(&w, ""); /* however long it takes */
    complete(&w);
    CHECK_ORDERS(&w, "commit finish");
    CHECK_INT(w.f.owner, 0);
    check_all_given_back(&w);
    world_release(&w);
}

TEST(the_window_ends_by_itself)
{
    struct world w = carrying(TWO);

    w.policy.window_ms = 700;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_WINDOW);
    CHECK_ORDERS(&w, "");
    CHECK_INT(failover_due(&w.f), T0 + 700);
    w.now += 300;
    output(&w, HOLD_WINDOW); /* more of it does not open the window anew */
    CHECK_INT(failover_due(&w.f), T0 + 700);
    tick_at(&w, T0 + 699, true);
    CHECK_ORDERS(&w, "");
    tick_at(&w, T0 + 700, true);
    CHECK_ORDERS(&w, "commit");
    CHECK_INT(w.f.owner, 0);
    CHECK_INT(failover_due(&w.f), T0 + 300 + w.timers.idle);
    tick_at(&w, T0 + 800, true);
    CHECK_ORDERS(&w, ""); /* once */
    world_release(&w);
}

TEST(the_window_ends_when_enough_is_there)
{
    struct world w = carrying(TWO);

    w.policy.window_ms = 700;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_WINDOW);
    output(&w, HOLD_NOT);
    CHECK_ORDERS(&w, "commit");
    CHECK_INT(failover_due(&w.f), T0 + w.timers.idle);
    world_release(&w);
}

TEST(a_tool_call_that_begins_in_the_window_is_held_until_it_is_complete)
{
    struct world w = carrying(TWO);

    w.policy.window_ms = 700;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_WINDOW);
    output(&w, HOLD_ALL);
    CHECK_INT(failover_due(&w.f), T0 + w.timers.idle);
    tick_at(&w, T0 + 700, true);
    CHECK_ORDERS(&w, "");
    w.now = T0 + 900;
    output(&w, HOLD_WINDOW); /* it is; and still too little */
    CHECK_INT(failover_due(&w.f), T0 + 1600);
    world_release(&w);
}

TEST(the_window_of_one_try_does_not_commit_the_next)
{
    struct world w = carrying(TWO);

    w.policy.window_ms = 700;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_WINDOW);
    cut(&w, TRUNCATED, 0);
    CHECK_STR(asked(&w), "b/x");
    act(&w, FAILOVER_CONNECTED);
    tick_at(&w, T0 + 700, true);
    CHECK_ORDERS(&w, "");
    CHECK(!w.f.committed);
    w.now = T0 + 1000;
    output(&w, HOLD_WINDOW);
    CHECK_INT(failover_due(&w.f), T0 + 1700); /* it has its own */
    world_release(&w);
}

TEST(a_window_is_no_wait_while_nothing_is_asked)
{
    struct world w = carrying(ONE);

    w.policy.window_ms = 10;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_WINDOW);
    cut(&w, RESET, 0);
    CHECK_ORDERS(&w, ""); /* a pause for the same target */
    tick_at(&w, T0 + 10, true);
    CHECK_ORDERS(&w, "");
    CHECK(!w.f.committed && failover_due(&w.f) > T0 + 10);
    world_release(&w);
}

TEST(a_client_that_leaves_gets_nothing_of_what_is_held)
{
    struct world w = carrying(TWO);

    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_ALL);
    act(&w, FAILOVER_GONE);
    CHECK_ORDERS(&w, "drop");
    check_all_given_back(&w);
    world_release(&w);
}

TEST(what_is_held_at_the_deadline_is_no_answer)
{
    struct world w = carrying(TWO);

    w.timers.idle = w.timers.first_output = 200000;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    output(&w, HOLD_ALL);
    tick_at(&w, T0 + 100000, true);
    CHECK_ORDERS(&w, "drop refuse");
    CHECK_INT(failover_outcome(&w.f), DEADLINE);
    world_release(&w);
}

/* ---- the client's silence -------------------------------------------------------------------- */

TEST(a_client_whose_answer_is_held_gets_heartbeats)
{
    struct world w = carrying(TWO);

    w.policy.heartbeat_ms = 5000;
    w.policy.per_target = 1;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    w.now += 1000;
    output(&w, HOLD_ALL); /* which the client does not see */
    CHECK_INT(failover_due(&w.f), T0 + 5000);
    tick_at(&w, T0 + 5000, true);
    CHECK_ORDERS(&w, "heartbeat");
    cut(&w, TRUNCATED, 0);
    CHECK_ORDERS(&w, "try"); /* no answer has gone out: still invisible ... */
    cut(&w, TRUNCATED, 0);
    CHECK_ORDERS(&w, "break"); /* ... but the status has */
    world_release(&w);
}

TEST(a_client_whose_answer_is_carried_on_gets_heartbeats)
{
    struct world w = carrying(TWO);

    w.policy.heartbeat_ms = 5000;
    begin_answer(&w);
    w.now += 2000;
    output(&w, HOLD_NOT); /* said at 2 s */
    w.now += 1000;
    cut(&w, TRUNCATED, ALL_WAYS);
    act(&w, FAILOVER_CONNECTED);
    w.now += 1000;
    act(&w, FAILOVER_PROGRESS); /* of who goes on: the client sees nothing of it */
    output(&w, HOLD_ALL);
    CHECK_INT(failover_due(&w.f), T0 + 7000);
    tick_with_ways(&w, T0 + 7000, ALL_WAYS);
    CHECK_ORDERS(&w, "heartbeat");
    w.now += 1000;
    output(&w, HOLD_NOT);
    CHECK_ORDERS(&w, "commit");
    CHECK_INT(failover_due(&w.f), T0 + 13000); /* what was held has gone out now */
    w.now += 1000;
    act(&w, FAILOVER_PROGRESS);
    CHECK_INT(failover_due(&w.f), T0 + 14000); /* and it owns the client */
    world_release(&w);
}

TEST(progress_that_the_client_does_not_see_keeps_only_the_try_alive)
{
    struct world w = carrying(TWO);

    w.policy.heartbeat_ms = 5000;
    begin_answer(&w);
    failover_progress(&w.f, false, T0 + 1000); /* a tool call is being held back */
    CHECK_INT(failover_due(&w.f), T0 + 5000);
    CHECK_INT(w.f.tries[0].progress_ms, T0 + 1000);
    failover_progress(&w.f, true, T0 + 2000);
    CHECK_INT(failover_due(&w.f), T0 + 7000);
    world_release(&w);
}

TEST_MAIN()
