#include "providers/params.h"

#include "tests/unit/check.h"

static struct arena a;
static struct strbuf names;

static struct span rewrite(const char *body, const char *model, uint32_t without)
{
    struct drops drops = {.names = &names};

    strbuf_release(&names);
    names = strbuf_in(&a, 512);
    return params_rewrite(span_of(body), span_of(model), without, &a, &drops);
}

TEST(a_refused_parameter_goes_and_is_named_and_the_rest_stays_to_the_byte)
{
    uint32_t t = params_find(SPAN("temperature"));

    arena_init(&a);
    CHECK_SPAN(rewrite("{ \"model\" : \"m\",\n \"temperature\": 1.0, \"x\":[1e999, \"\\u00e9\"] }",
                       NULL, t),
               "{\"model\" : \"m\",\"x\":[1e999, \"\\u00e9\"]}");
    CHECK_SPAN(strbuf_span(&names), "temperature");
    CHECK_SPAN(rewrite("{\"temperature\":1,\"model\":\"m\"}", "\"n\"", t), "{\"model\":\"n\"}");
    CHECK_SPAN(rewrite("{\"temperature\":1}", NULL, t), "{}");
    arena_release(&a);
}

TEST(a_cap_goes_by_its_other_name_and_is_not_dropped)
{
    uint32_t cap = params_find(SPAN("max_tokens")),
             other = params_find(SPAN("max_completion_tokens"));

    arena_init(&a);
    CHECK_SPAN(rewrite("{\"max_tokens\":5,\"model\":\"m\"}", NULL, cap),
               "{\"max_completion_tokens\":5,\"model\":\"m\"}");
    CHECK_INT(names.len, 0);
    CHECK_SPAN(rewrite("{\"model\":\"m\",\"max_completion_tokens\":5}", NULL, other),
               "{\"model\":\"m\",\"max_tokens\":5}");
    CHECK_SPAN(rewrite("{\"model\":\"m\",\"max_tokens\":5}", NULL, cap | other),
               "{\"model\":\"m\"}");
    CHECK_SPAN(strbuf_span(&names), "max_tokens");
    arena_release(&a);
}

TEST(the_parameter_that_an_error_means_is_found)
{
    struct chat_error e = {.param = "top_p", .message = "Unsupported parameter: 'top_p'"};

    CHECK_INT(params_blamed(&e), params_find(SPAN("top_p")));
    e = (struct chat_error){.message = "temperature: range: 0..1"};
    CHECK_INT(params_blamed(&e), params_find(SPAN("temperature")));
    e = (struct chat_error){.param = "messages"};
    CHECK_INT(params_blamed(&e), 0);
    e = (struct chat_error){.message = "Unsupported value: 'stop' does not go"};
    CHECK_INT(params_blamed(&e), params_find(SPAN("stop")));
    e = (struct chat_error){.message = "`temperature` is deprecated for this model."};
    CHECK_INT(params_blamed(&e), params_find(SPAN("temperature")));
    e = (struct chat_error){.message = "Penalty is not enabled for models/gemini-x"};
    CHECK_INT(params_blamed(&e),
              params_find(SPAN("presence_penalty")) | params_find(SPAN("frequency_penalty")));
    e = (struct chat_error){.message = "it's no such thing"};
    CHECK_INT(params_blamed(&e), 0);
    CHECK(params_find(SPAN("reasoning.effort")) == params_find(SPAN("reasoning_effort")));
    CHECK((params_of_reasoning_models() & params_find(SPAN("stop"))) != 0);
    CHECK((params_of_reasoning_models() & params_find(SPAN("seed"))) == 0);
}

TEST(a_value_that_is_refused_is_told_from_its_parameter)
{
    struct chat_error e = {.code = "unsupported_value", .param = "reasoning_effort"};

    CHECK(params_only_value(&e));
    snprintf(e.param, sizeof(e.param), "temperature");
    CHECK(!params_only_value(&e));
    e = (struct chat_error){.code = "unsupported_parameter", .param = "verbosity"};
    CHECK(!params_only_value(&e));
}

TEST(a_canonical_request_loses_what_was_there_only)
{
    struct conversation c = {.temperature = SPAN("1"), .effort = EFFORT_LOW};
    struct drops drops = {.names = &names};

    arena_init(&a);
    names = strbuf_in(&a, 512);
    params_leave_out(&c,
                     params_find(SPAN("temperature")) | params_find(SPAN("top_p")) |
                         params_find(SPAN("reasoning_effort")),
                     &drops);
    CHECK_SPAN(strbuf_span(&names), "temperature, reasoning_effort");
    CHECK(c.temperature.p == NULL && c.effort == EFFORT_UNSET);
    arena_release(&a);
}

TEST_MAIN()
