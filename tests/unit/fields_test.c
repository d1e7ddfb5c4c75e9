#include <stdio.h>

#include "providers/anthropic_messages.h"
#include "providers/fields.h"
#include "providers/gemini_in.h"
#include "providers/openai_chat_conversation.h"
#include "providers/openai_responses.h"

#include "tests/unit/check.h"

static const struct {
    const struct dialect *dialect;
    const char *const *names;
} clients[] = {
    {&dialect_openai_chat, openai_chat_field_names},
    {&dialect_openai_responses, openai_responses_field_names},
    {&dialect_openai_completions, openai_completions_field_names},
    {&dialect_anthropic_messages, anthropic_field_names},
    {&dialect_gemini, gemini_field_names},
};

static const struct {
    const struct dialect *dialect;
    const char *model;
} targets[] = {
    {&dialect_openai_chat, "gpt-4.1"},
    {&dialect_openai_responses, "gpt-4.1"},
    {&dialect_openai_responses, "gpt-5"},
    {&dialect_anthropic_messages, "claude-opus-4-7"},
    {&dialect_anthropic_messages, "claude-sonnet-4-5"},
    {&dialect_anthropic_messages, "claude-3-5-haiku"},
    {&dialect_gemini, "gemini-3-pro-preview"},
    {&dialect_gemini, "gemini-2.5-pro"},
    {&dialect_gemini, "gemini-2.0-flash"},
};

/* Does the object with these members have this one at its top? */
static bool has_member(const char *members, const char *name)
{
    char text[4096];
    struct span key;
    struct json j;
    bool found = false;

    snprintf(text, sizeof(text), "{%s}", members);
    j = json_read(span_of(text));
    CHECK(json_enter(&j, JSON_OBJECT));
    while (json_member(&j, &key)) {
        found |= span_is(key, name);
        json_take(&j);
    }
    if (!json_end(&j))
        fail_msg("%s", text);
    return found;
}

/* Is it a probe of this field, or of something inside it? */
static bool is_about(const struct field_probe *p, const char *name)
{
    size_t n = strlen(name);

    return strncmp(p->field, name, n) == 0 && strchr(".[", p->field[n]) != NULL &&
           has_member(p->with, name);
}

TEST(every_field_that_a_reader_knows_has_a_probe)
{
    for (size_t c = 0; c < ARRAY_LEN(clients); c++)
        for (const char *const *name = clients[c].names; *name != NULL; name++) {
            bool found = strcmp(*name, "model") == 0; /* the target's own, in every probe */

            for (size_t i = 0; fields_probe(clients[c].dialect, i) != NULL; i++)
                found |= is_about(fields_probe(clients[c].dialect, i), *name);
            if (!found)
                fail_msg("%s has no probe for %s", *name, clients[c].dialect->name);
        }
}

static void check_probes(const struct dialect *client)
{
    for (size_t i = 0; fields_probe(client, i) != NULL; i++) {
        const struct field_probe *p = fields_probe(client, i), *other;

        for (size_t t = 0; t < ARRAY_LEN(targets); t++) {
            struct arena a;
            struct field_verdict v;

            arena_init(&a);
            v = fields_try(client, p, targets[t].dialect, targets[t].model, &a);
            if (v.fate == FIELD_INVALID)
                fail_msg("%s (%s): %.*s", p->field, targets[t].model, SPAN_ARG(v.text));
            CHECK(v.fate != FIELD_UNTOUCHED || targets[t].dialect == client);
            if (targets[t].dialect == client) /* or the model that was chosen does not take it */
                CHECK(v.fate == FIELD_UNTOUCHED || client != &dialect_openai_chat);
            arena_release(&a);
        }
        CHECK(strcmp(p->with, p->without) != 0);
        for (size_t k = 0; k < i; k++) {
            other = fields_probe(client, k);
            CHECK(strcmp(p->with, other->with) != 0 || strcmp(p->without, other->without) != 0);
            CHECK(strcmp(p->field, other->field) != 0 ||
                  strcmp(p->form != NULL ? p->form : "", other->form != NULL ? other->form : "") !=
                      0);
        }
    }
}

TEST(no_probe_is_invalid_and_none_stands_twice)
{
    for (size_t c = 0; c < ARRAY_LEN(clients); c++)
        check_probes(clients[c].dialect);
}

/* What changes nothing and is not named either would be lost silently, but for these. */
static void check_losses(const struct dialect *client)
{
    static const char *const known[] = {
        "n",                                  /* 1 is what there is without it */
        "stream_options.include_usage",       /* the writer of the answer's stream does that */
        "reasoning_effort",                   /* "none" where a model does not think */
        "response_format",                    /* "text" is what there is without it */
        "response_format.json_schema.strict", /* both hold to every schema */
        "include",                            /* reasoning's state always comes along */
        "reasoning.effort",                   /* as reasoning_effort */
        "reasoning.summary",                  /* what a provider shows is passed on */
        "store",                              /* `false` is what there is elsewhere */
        "text.format",                        /* as response_format */
        "text.format.strict",                 /* the same */
        "thinking",                           /* "disabled" where a model does not think */
        "output_config.effort",               /* where it does not, `thinking` is named */
        "generationConfig.thinkingConfig.thinkingLevel",  /* MINIMAL where it does not */
        "generationConfig.responseMimeType",              /* "text/plain", as above */
        "generationConfig.responseModalities",            /* TEXT, the same */
        "generationConfig.thinkingConfig.thinkingBudget", /* 0, as above */
    };

    for (size_t i = 0; fields_probe(client, i) != NULL; i++)
        for (size_t t = 0; t < ARRAY_LEN(targets); t++) {
            const struct field_probe *p = fields_probe(client, i);
            struct arena a;
            bool listed = false;

            arena_init(&a);
            for (size_t k = 0; k < ARRAY_LEN(known); k++)
                listed |= strcmp(p->field, known[k]) == 0;
            if (!listed &&
                fields_try(client, p, targets[t].dialect, targets[t].model, &a).fate == FIELD_SAME)
                fail_msg("%s (%s) is lost at %s", p->field, p->form != NULL ? p->form : "",
                         targets[t].model);
            arena_release(&a);
        }
}

TEST(nothing_is_lost_silently)
{
    for (size_t c = 0; c < ARRAY_LEN(clients); c++)
        check_losses(clients[c].dialect);
}

static enum field_fate fate(const struct dialect *d, const char *model, const char *field,
                            const char *with)
{
    struct field_probe p = {.field = field, .with = with};
    struct field_verdict v;
    struct arena a;

    p.without = "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]";
    arena_init(&a);
    v = fields_try(&dialect_openai_chat, &p, d, model, &a);
    arena_release(&a);
    return v.fate;
}

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],"

TEST(a_verdict_says_what_came_of_the_field)
{
    const struct dialect *claude = &dialect_anthropic_messages, *gemini = &dialect_gemini;

    CHECK_INT(fate(gemini, "gemini-2.5-pro", "seed", HI "\"seed\":1"), FIELD_MAPPED);
    CHECK_INT(fate(claude, "claude-sonnet-4-5", "seed", HI "\"seed\":1"), FIELD_DROPPED);
    CHECK_INT(fate(claude, "claude-sonnet-4-5", "n", HI "\"n\":2"), FIELD_REFUSED);
    CHECK_INT(fate(claude, "claude-sonnet-4-5", "n", HI "\"n\":1"), FIELD_SAME);
    CHECK_INT(fate(claude, "claude-sonnet-4-5", "temperature", HI "\"temperature\":2"),
              FIELD_NEAREST);
    CHECK_INT(fate(claude, "claude-sonnet-4-5", "top_p", HI "\"top_p\":0.5,\"seed\":1"),
              FIELD_PARTLY);
    CHECK_INT(fate(claude, "claude-sonnet-4-5", "n", HI "\"n\":\"2\""), FIELD_INVALID);
    CHECK_INT(fate(claude, "claude-sonnet-4-5", "n", HI "\"n\":1,}"), FIELD_INVALID);
    CHECK_INT(fate(&dialect_openai_chat, "gpt", "x", HI "\"x\" :  1e999"), FIELD_UNTOUCHED);
}

TEST(the_page_has_a_row_for_each_probe_and_cells_that_hold)
{
    struct strbuf out = strbuf_heap(1 << 20);
    size_t rows = 0, n = 0;

    fields_manual(&out);
    CHECK(!out.failed);
    CHECK(strstr(out.buf, "invalid") == NULL);
    CHECK(strstr(out.buf, "| `seed` | untouched | dropped | dropped | mapped |\n") != NULL);
    for (const char *line = out.buf; line != NULL; line = strchr(line + 1, '\n')) {
        unsigned bars = 0;

        if (strncmp(line, "\n| `", 4) != 0)
            continue;
        rows++;
        for (const char *c = line + 1; *c != '\n'; c++)
            bars += *c == '|' && c[-1] != '\\';
        CHECK_INT(bars, 6);
    }
    for (size_t c = 0; c < ARRAY_LEN(clients); c++)
        for (size_t i = 0; fields_probe(clients[c].dialect, i) != NULL; i++)
            n++;
    CHECK_INT(rows, n);
    strbuf_release(&out);
}

TEST_MAIN()
