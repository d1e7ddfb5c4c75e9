#include "providers/anthropic_messages.h"

#include <stdlib.h>

#include "providers/openai_chat.h"

#define MAX_HEAD     16384       /* bytes of the header fields we add */
#define MAX_BODY     (256 << 20) /* bytes of a request; the API takes 32 MB */
#define OTHER_MAX    8192        /* tokens, for a model that we do not know */
#define STRICT_TOOLS 20          /* the API takes so many with `strict` */

static void drop_set(struct anthropic_writer *w, struct span raw, const char *name)
{
    if (raw.n != 0)
        drop_named(w->drops, name);
}

/* ---- thinking ---- */

struct thinking {
    enum { THINK_UNSET, THINK_OFF, THINK_ADAPTIVE, THINK_BUDGET } mode;
    const char *effort; /* NULL: none is sent */
    uint64_t budget;
};

static bool is_forced(const struct conversation *c)
{
    return c->tools != NULL && (c->choice == CHOICE_REQUIRED || c->choice == CHOICE_NAMED ||
                                (c->choice == CHOICE_ALLOWED && c->choice_allowed_required));
}

static const char *effort_word(struct anthropic_writer *w)
{
    switch (w->c->effort) {
    case EFFORT_MINIMAL:
    case EFFORT_LOW:
        return "low";
    case EFFORT_MEDIUM:
        return "medium";
    case EFFORT_XHIGH:
        if (w->model.xhigh)
            return "xhigh";
        drop_named(w->drops, "reasoning_effort"); /* the most there is, not what was asked */
        return "high";
    default:
        return "high";
    }
}

static uint64_t budget_of(enum effort effort)
{
    switch (effort) {
    case EFFORT_LOW:
        return 1024;
    case EFFORT_MEDIUM:
        return 8192;
    case EFFORT_HIGH:
        return 24576;
    default:
        return 32000;
    }
}

/* Thinking excludes a forced tool call, and a turn that began without it goes on without it. A
 * forced call is the stronger wish. */
static struct thinking choose_thinking(struct anthropic_writer *w)
{
    enum effort effort = w->c->effort;
    struct thinking t = {0};
    bool possible = !is_forced(w->c) && !w->thought_missing;

    if (effort == EFFORT_UNSET)
        return t;
    if (w->model.adaptive) {
        if (effort != EFFORT_NONE)
            t.effort = effort_word(w);
        if (effort == EFFORT_MINIMAL)
            return t;
        t.mode = effort == EFFORT_NONE || !possible ? THINK_OFF : THINK_ADAPTIVE;
    } else if (effort >= EFFORT_LOW && w->model.budget && possible) {
        t.mode = THINK_BUDGET;
        t.budget = budget_of(effort);
    }
    if (effort >= EFFORT_LOW && t.mode != THINK_ADAPTIVE && t.mode != THINK_BUDGET)
        drop_named(w->drops, "reasoning_effort");
    return t;
}

/* The cap on the answer. A budget comes on top of it as far as the model goes. */
static uint64_t choose_max_tokens(struct anthropic_writer *w, struct thinking *t)
{
    uint64_t most = w->model.max_tokens, n = w->c->max_tokens;

    if (most != 0 && n > most) {
        n = most;
        drop_field(w->drops, w->c->max_tokens_path);
    }
    if (n == 0)
        n = most != 0 ? most : OTHER_MAX;
    if (t->mode != THINK_BUDGET)
        return n;
    if (most != 0 && t->budget > most / 4 * 3)
        t->budget = most / 4 * 3;
    if (w->c->max_tokens != 0 || most == 0)
        n += t->budget;
    return most != 0 && n > most ? most : n;
}

static void add_thinking(struct anthropic_writer *w, const struct thinking *t)
{
    switch (t->mode) {
    case THINK_UNSET:
        break;
    case THINK_OFF:
        strbuf_add(w->out, ",\"thinking\":{\"type\":\"disabled\"}");
        break;
    case THINK_ADAPTIVE:
        strbuf_add(w->out, w->model.summarize
                               ? ",\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"}"
                               : ",\"thinking\":{\"type\":\"adaptive\"}");
        break;
    case THINK_BUDGET:
        strbuf_add(w->out, ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":");
        strbuf_add_u64(w->out, t->budget);
        strbuf_add_char(w->out, '}');
        break;
    }
}

/* ---- sampling ---- */

/* From 0 to 1. What goes beyond is the nearest end of it, and is named. */
static void add_temperature(struct anthropic_writer *w)
{
    struct span raw = w->c->temperature;
    double v = strtod(arena_strdup(w->arena, raw), NULL);

    strbuf_add(w->out, ",\"temperature\":");
    if (v >= 0 && v <= 1) {
        strbuf_add_span(w->out, raw);
        return;
    }
    strbuf_add_char(w->out, v < 0 ? '0' : '1');
    drop_named(w->drops, "temperature");
}

static bool is_one(struct anthropic_writer *w, struct span raw)
{
    return strtod(arena_strdup(w->arena, raw), NULL) == 1.0;
}

static void add_sampling(struct anthropic_writer *w, const struct thinking *t)
{
    const struct conversation *c = w->c;

    if (!w->model.sampling || t->mode == THINK_ADAPTIVE || t->mode == THINK_BUDGET) {
        if (c->temperature.n != 0 && !is_one(w, c->temperature)) /* 1 is what there is without it */
            drop_named(w->drops, "temperature");
        drop_set(w, c->top_p, "top_p");
        drop_set(w, c->top_k, "top_k");
        return;
    }
    if (c->temperature.n != 0) {
        add_temperature(w);
        drop_set(w, c->top_p, "top_p"); /* newer models refuse both */
    } else if (c->top_p.n != 0) {
        strbuf_add(w->out, ",\"top_p\":");
        strbuf_add_span(w->out, c->top_p);
    }
    if (c->top_k.n != 0) {
        strbuf_add(w->out, ",\"top_k\":");
        strbuf_add_span(w->out, c->top_k);
    }
}

/* White space alone is refused. */
static void add_stop(struct anthropic_writer *w)
{
    struct json j = json_read(w->c->stop);
    bool first = true;

    if (!json_enter(&j, JSON_ARRAY))
        return;
    while (json_item(&j)) {
        struct span raw = json_take(&j);

        if (raw_is_blank(raw)) {
            drop_named(w->drops, "stop");
            continue;
        }
        strbuf_add(w->out, first ? ",\"stop_sequences\":[" : ",");
        strbuf_add_span(w->out, raw);
        first = false;
    }
    if (!first)
        strbuf_add_char(w->out, ']');
}

/* ---- tools ---- */

static bool is_allowed(struct anthropic_writer *w, const struct tool *tool)
{
    struct span name = json_text(tool->name, w->arena);

    if (w->c->choice != CHOICE_ALLOWED)
        return true;
    for (const struct name_list *n = w->c->choice_allowed; n != NULL; n = n->next)
        if (span_eq(json_text(n->name, w->arena), name))
            return true;
    return false;
}

/* The `type` of a schema; *any: it has members. */
static struct span type_of(struct span schema, bool *any)
{
    struct json j = json_read(schema);
    struct span key, type = {0};

    *any = false;
    if (json_enter(&j, JSON_OBJECT))
        while (json_member(&j, &key)) {
            bool is_type = span_is(key, "type");
            struct span raw = json_take(&j);

            *any = true;
            if (is_type)
                type = raw;
        }
    return type;
}

/* The schema of the parameters; it must say that it is an object's. */
static int add_parameters(struct anthropic_writer *w, const struct tool *tool)
{
    bool any;
    struct span type = type_of(tool->schema, &any);

    strbuf_add(w->out, ",\"input_schema\":");
    if (!any) {
        strbuf_add(w->out, "{\"type\":\"object\",\"properties\":{}}");
    } else if (type.n == 0) {
        strbuf_add(w->out, "{\"type\":\"object\",");
        strbuf_add_n(w->out, tool->schema.p + 1, tool->schema.n - 1);
    } else if (json_is_string(type, "object")) {
        strbuf_add_span(w->out, tool->schema);
    } else {
        return err_set(w->e, ERR_VALUE, "%.*s: expected parameters of type \"object\", got %.*s",
                       SPAN_ARG(tool->path), (int)(type.n < 40 ? type.n : 40), type.p);
    }
    return 0;
}

static int add_strict_parameters(struct anthropic_writer *w, const struct tool *tool)
{
    struct span none = {0};

    strbuf_add(w->out, ",\"strict\":true,\"input_schema\":");
    return anthropic_write_schema(w, tool->schema, none, none,
                                  anthropic_path(w->arena, tool->path, "parameters"));
}

static int add_tool(struct anthropic_writer *w, const struct tool *tool, unsigned *strict)
{
    bool any, is_strict = tool->strict && w->model.schemas && *strict < STRICT_TOOLS &&
                          json_is_string(type_of(tool->schema, &any), "object");

    if (!anthropic_is_plain(json_text(tool->name, w->arena), 128))
        return err_set(
            w->e, ERR_VALUE, "%.*s.name: expected 1 to 128 letters, digits, _ and -, got %.*s",
            SPAN_ARG(tool->path), (int)(tool->name.n < 60 ? tool->name.n : 60), tool->name.p);
    strbuf_add(w->out, "{\"name\":");
    strbuf_add_span(w->out, tool->name);
    if (tool->description.n != 0 && !raw_is_blank(tool->description)) {
        strbuf_add(w->out, ",\"description\":");
        strbuf_add_span(w->out, tool->description);
    }
    if (tool->strict && !is_strict)
        drop_field(w->drops, tool_field(tool, "strict", w->arena));
    *strict += is_strict;
    if ((is_strict ? add_strict_parameters(w, tool) : add_parameters(w, tool)) < 0)
        return -1;
    if (tool->cache.n != 0) {
        strbuf_add(w->out, ",\"cache_control\":");
        strbuf_add_span(w->out, tool->cache);
    }
    strbuf_add_char(w->out, '}');
    return 0;
}

static void add_choice(struct anthropic_writer *w)
{
    const struct conversation *c = w->c;
    const char *type = "auto";

    switch (c->choice) {
    case CHOICE_UNSET:
        if (!c->one_tool_at_a_time)
            return;
        break;
    case CHOICE_AUTO:
        break;
    case CHOICE_NONE:
        strbuf_add(w->out, ",\"tool_choice\":{\"type\":\"none\"}");
        return;
    case CHOICE_REQUIRED:
        type = "any";
        break;
    case CHOICE_NAMED:
        type = "tool";
        break;
    case CHOICE_ALLOWED:
        type = c->choice_allowed_required ? "any" : "auto";
        break;
    }
    strbuf_addf(w->out, ",\"tool_choice\":{\"type\":\"%s\"", type);
    if (c->choice == CHOICE_NAMED) {
        strbuf_add(w->out, ",\"name\":");
        strbuf_add_span(w->out, c->choice_name);
    }
    if (c->one_tool_at_a_time)
        strbuf_add(w->out, ",\"disable_parallel_tool_use\":true");
    strbuf_add_char(w->out, '}');
}

/* The names in the history, for platforms that refuse a call of what is not declared. None of them
 * may be called now. */
static void declare_again(struct anthropic_writer *w)
{
    strbuf_add(w->out, ",\"tools\":[");
    for (const struct name_list *n = w->called; n != NULL; n = n->next) {
        strbuf_add(w->out, n != w->called ? ",{\"name\":" : "{\"name\":");
        strbuf_add_span(w->out, n->name);
        strbuf_add(w->out, ",\"input_schema\":{\"type\":\"object\"}}");
    }
    strbuf_add(w->out, "],\"tool_choice\":{\"type\":\"none\"}");
}

static int add_tools(struct anthropic_writer *w)
{
    const struct conversation *c = w->c;
    unsigned strict = 0;
    bool any = false;

    if (c->tools == NULL) {
        if (c->choice == CHOICE_REQUIRED || c->choice == CHOICE_NAMED ||
            c->choice == CHOICE_ALLOWED)
            drop_named(w->drops, "tool_choice");
        if (w->called != NULL)
            declare_again(w);
        return 0;
    }
    for (const struct tool *tool = c->tools; tool != NULL; tool = tool->next) {
        if (!is_allowed(w, tool))
            continue;
        strbuf_add(w->out, any ? "," : ",\"tools\":[");
        if (add_tool(w, tool, &strict) < 0)
            return -1;
        any = true;
    }
    if (!any)
        return err_set(w->e, ERR_VALUE,
                       "tool_choice: expected at least one allowed tool that stands in tools");
    strbuf_add_char(w->out, ']');
    add_choice(w);
    return 0;
}

/* ---- the rest ---- */

static int add_output_config(struct anthropic_writer *w, const struct thinking *t)
{
    const struct conversation *c = w->c;

    if (c->format != FORMAT_SCHEMA && t->effort == NULL)
        return 0;
    strbuf_add(w->out, ",\"output_config\":{");
    if (t->effort != NULL)
        strbuf_addf(w->out, "\"effort\":\"%s\"", t->effort);
    if (c->format == FORMAT_SCHEMA) {
        strbuf_add(w->out, t->effort != NULL ? "," : "");
        strbuf_add(w->out, "\"format\":{\"type\":\"json_schema\",\"schema\":");
        if (anthropic_write_schema(w, c->schema, c->schema_name, c->schema_description,
                                   "response_format.json_schema.schema") < 0)
            return -1;
        strbuf_add_char(w->out, '}');
    }
    strbuf_add_char(w->out, '}');
    return 0;
}

/* What this dialect has no word for. */
static void drop_rest(struct anthropic_writer *w)
{
    const struct conversation *c = w->c;

    drop_set(w, c->presence_penalty, "presence_penalty");
    drop_set(w, c->frequency_penalty, "frequency_penalty");
    drop_set(w, c->seed, "seed");
    if (c->logprobs)
        drop_named(w->drops, "logprobs");
    drop_set(w, c->top_logprobs, "top_logprobs");
    drop_set(w, c->service_tier, "service_tier");
    drop_set(w, c->verbosity, "verbosity");
    for (const struct other_field *o = c->others; o != NULL; o = o->next)
        drop_field(w->drops, o->path);
}

static int check(struct anthropic_writer *w)
{
    if (w->c->n > 1)
        return err_set(w->e, ERR_VALUE, "n: expected 1, as this target gives one answer, got %u",
                       w->c->n);
    if (w->c->format != FORMAT_SCHEMA)
        return 0;
    if (!w->model.schemas)
        return err_set(w->e, ERR_VALUE,
                       "response_format: expected a type of \"text\" or \"json_object\", as this "
                       "model is not known to hold to a JSON Schema, got \"json_schema\"");
    if (json_type_of(w->c->schema) != JSON_OBJECT)
        return err_set(w->e, ERR_VALUE, "response_format.json_schema.schema: expected an object");
    return 0;
}

/* The messages are written aside: what they hold decides on what stands before them. */
static int add_body(struct anthropic_writer *w, struct span model)
{
    struct strbuf messages = strbuf_in(w->arena, MAX_BODY), *out = w->out;
    struct thinking thinking;
    uint64_t max_tokens;

    strbuf_expect(&messages, w->c->bytes);
    w->out = &messages;
    if (anthropic_write_messages(w) < 0)
        return -1;
    w->out = out;
    thinking = choose_thinking(w);
    max_tokens = choose_max_tokens(w, &thinking);

    strbuf_add(out, "{\"model\":");
    json_add_string(out, model);
    strbuf_add(out, ",\"max_tokens\":");
    strbuf_add_u64(out, max_tokens);
    strbuf_add(out, w->c->stream ? ",\"stream\":true" : "");
    add_sampling(w, &thinking);
    add_stop(w);
    add_thinking(w, &thinking);
    if (add_output_config(w, &thinking) < 0 || add_tools(w) < 0)
        return -1;
    if (w->c->user.n != 0) {
        strbuf_add(out, ",\"metadata\":{\"user_id\":");
        strbuf_add_span(out, w->c->user);
        strbuf_add_char(out, '}');
    }
    drop_rest(w);
    strbuf_add_span(out, strbuf_span(&messages));
    strbuf_add_char(out, '}');
    if (messages.failed || out->failed)
        return err_set(w->e, ERR_TOO_BIG, "request body: larger than %u bytes when translated",
                       (unsigned)MAX_BODY);
    return 0;
}

/* Where a request goes, and the credential. A client of this dialect names its own version. */
static void address(const struct dialect_target *target, const char *end, struct arena *a,
                    struct dialect_request *out)
{
    struct strbuf path =
        strbuf_in(a, target->base_path.n + strlen(end) + target->client_query.n + 1);

    strbuf_add_span(&path, target->base_path);
    strbuf_add(&path, end);
    strbuf_add_span(&path, target->client_query);
    *out = (struct dialect_request){
        .path = strbuf_span(&path),
        .head_fields = strbuf_in(a, MAX_HEAD),
    };
    if (target->key.n != 0) {
        strbuf_add(&out->head_fields,
                   target->key_header != NULL ? target->key_header : "x-api-key: ");
        strbuf_add_span(&out->head_fields, target->key);
        strbuf_add(&out->head_fields, "\r\n");
    }
    if (span_find_nocase(target->client_fields, "anthropic-version:") == NULL)
        strbuf_add(&out->head_fields, "anthropic-version: 2023-06-01\r\n");
}

static int write_conversation(const struct conversation *c, const struct dialect_target *target,
                              struct arena *a, struct dialect_request *out, struct drops *drops,
                              struct err *e)
{
    struct span model = target->model.p != NULL ? target->model : c->model;
    struct strbuf body = strbuf_in(a, MAX_BODY);
    struct anthropic_writer w = {.c = c,
                                 .model = anthropic_model_of(model),
                                 .arena = a,
                                 .drops = drops,
                                 .out = &body,
                                 .e = e};

    if (check(&w) < 0 || add_body(&w, model) < 0)
        return -1;
    address(target, "/messages", a, out);
    out->body[0] = strbuf_span(&body);
    out->body_bytes = body.len;
    return 0;
}

/* The client's own bytes, but for the model and what the target is known to refuse. */
static void write_request(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct dialect_request *out, struct drops *drops)
{
    struct span body = anthropic_fit(req, target, a, drops), all = req->body;
    const char *model_end = req->model_raw.p + req->model_raw.n;

    address(target, req->counting ? "/messages/count_tokens" : "/messages", a, out);
    out->body[0] = body;
    if (body.p == all.p && target->rewrite_model && target->model.p != NULL) {
        out->body[0].n = (size_t)(req->model_raw.p - all.p);
        out->body[1] = chat_quote(target->model, a);
        out->body[2] = (struct span){model_end, (size_t)(all.p + all.n - model_end)};
    }
    for (size_t i = 0; i < ARRAY_LEN(out->body); i++)
        out->body_bytes += out->body[i].n;
}

static bool is_count(struct span body)
{
    int64_t n;

    return json_valid(body) && json_to_i64(top_member(body, "input_tokens"), &n);
}

const struct dialect dialect_anthropic_messages = {
    .name = "anthropic_messages",
    .marks_end = true,
    .key_header = "x-api-key: ",
    .id_prefix = "msg_",
    .comments = true,
    .client_fields = (const char *const[]){"anthropic-version", "anthropic-beta", NULL},
    .client_query = (const char *const[]){"beta", NULL},
    .id_field = "request-id",
    .exhausted = 529, /* overloaded_error: Claude Code then gives up after three tries */
    .read_request = anthropic_read_request,
    .extend = anthropic_extend,
    .read_conversation = anthropic_read_conversation,
    .write_error = anthropic_write_error,
    .write_stream_error = anthropic_write_stream_error,
    .write_end = anthropic_write_end,
    .write_event = anthropic_write_event,
    .follow = anthropic_follow,
    .write_answer = anthropic_write_answer,
    .is_count = is_count,
    .write_models = anthropic_write_models,
    .write_model = anthropic_write_model,
    .write_request = write_request,
    .write_conversation = write_conversation,
    .read_event = anthropic_read_event,
    .read_answer = anthropic_read_answer,
    .judge_end = anthropic_judge_end,
    .classify = openai_chat_classify,
};
