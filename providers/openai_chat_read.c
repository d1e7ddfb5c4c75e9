#include "providers/openai_chat.h"

#include <stdio.h>

static void learn(struct chat_watch *w, const struct openai_chat_found *f)
{
    w->output |= f->output;
    w->tools |= f->tools;
    w->cut_short |= f->cut_short;
    w->begun |= f->begun;
    w->closed |= f->closed;
    w->stopped = w->begun != 0 && (w->begun & ~w->closed) == 0;
    if (f->usage.seen)
        w->usage = f->usage;
}

/* An error told by the finish reason alone. */
static enum failure bad_finish(struct span raw, struct chat_error *error)
{
    bool overloaded = json_is_string(raw, "insufficient_system_resource");
    char text[128];

    *error = (struct chat_error){.status = overloaded ? 503 : 502};
    snprintf(text, sizeof(text), "the provider ended its answer with finish_reason %.*s",
             (int)(raw.n < 40 ? raw.n : 40), raw.p);
    chat_error_mask(span_of(text), error->message, sizeof(error->message));
    return overloaded ? OVERLOADED : SERVER_ERROR;
}

/* ---- one event of a stream ---- */

static enum dialect_event read_error(struct span text, bool certain, struct chat_watch *watch)
{
    enum failure f = openai_chat_find_error(text, certain, &watch->error);

    if (f == FAILURE_NONE)
        return EVENT_NOTHING;
    watch->failure = f;
    return EVENT_ERROR;
}

/* Nearly every chunk of a stream is a piece of text and nothing else: that need not be read twice.
 */
static bool is_only_text(const struct openai_chat_found *f, const struct chat_watch *watch)
{
    return f->events == 1 && f->text.n != 0 && f->begun == 1 && watch->begun != 0 && !f->tools &&
           !f->usage.seen;
}

enum { LIKE_TEXT, LIKE_PADDING };

static void remember(struct like *l, struct span data, const struct openai_chat_found *f)
{
    struct span values[LIKE_VALUES] = {[LIKE_TEXT] = f->text};

    if (json_type_of(f->padding) == JSON_STRING)
        values[LIKE_PADDING] = f->padding;
    like_learn(l, data, values);
}

static enum dialect_event read_chunk(struct span data, struct chat_watch *watch, chat_sink *sink,
                                     void *ctx)
{
    struct openai_chat_found found;
    struct span values[LIKE_VALUES];

    if (like_is(&watch->like, data, values) && values[LIKE_TEXT].n > 2) {
        if (sink != NULL)
            sink(ctx, &(struct chat_event){.kind = CHAT_TEXT, .text = values[LIKE_TEXT]});
        return EVENT_OUTPUT;
    }
    if (!openai_chat_look(data, false, watch, &found))
        return EVENT_BAD;
    if (found.error || !found.choices) {
        enum dialect_event event = read_error(data, found.error, watch);

        if (event != EVENT_NOTHING)
            return event;
    }
    if (found.bad_finish.n != 0) {
        watch->failure = bad_finish(found.bad_finish, &watch->error);
        return EVENT_ERROR;
    }
    if (sink != NULL && is_only_text(&found, watch))
        sink(ctx, &(struct chat_event){.kind = CHAT_TEXT, .text = found.text});
    else if (sink != NULL)
        openai_chat_tell(data, false, watch, &found, sink, ctx);
    if (is_only_text(&found, watch) && found.closed == 0 && !found.error)
        remember(&watch->like, data, &found);
    learn(watch, &found);
    if (found.output)
        return EVENT_OUTPUT;
    if (found.closed != 0)
        return EVENT_STOP;
    return found.choices || found.usage.seen ? EVENT_LIFECYCLE : EVENT_NOTHING;
}

static enum dialect_event read_done(struct chat_watch *watch, chat_sink *sink, void *ctx)
{
    watch->end = true;
    if (sink != NULL && openai_chat_judge_end(watch) == FAILURE_NONE)
        sink(ctx, &(struct chat_event){.kind = CHAT_END});
    return EVENT_END;
}

/* Text outside any field. It is no event to a client, so only what tells of a failure counts. */
static enum dialect_event read_stray(struct span text, struct chat_watch *watch)
{
    if (openai_chat_is_html(text) || json_valid(text))
        return read_error(text, false, watch);
    return EVENT_NOTHING;
}

enum dialect_event openai_chat_read_event(const struct sse_event *ev, struct chat_watch *watch,
                                          chat_sink *sink, void *ctx)
{
    struct span data = ev->data;

    if (ev->stray)
        return read_stray(data, watch);
    if (!ev->has_data)
        return EVENT_NOTHING;
    if (ev->name.n != 0 && span_is(ev->name, "error"))
        return read_error(data, true, watch);
    if (data.n == 0 || data.p[0] != '{') {
        data = span_trim(openai_chat_skip_lead(data));
        if (data.n == 0)
            return EVENT_NOTHING;
        if (span_is(data, "[DONE]"))
            return read_done(watch, sink, ctx);
        if (data.p[0] == '[' && json_valid(data) && read_error(data, false, watch) == EVENT_ERROR)
            return EVENT_ERROR;
        if (data.p[0] != '{') /* an event with a name of its own may hold anything: a ping */
            return ev->name.n != 0 && !span_is(ev->name, "message") ? EVENT_NOTHING : EVENT_BAD;
    }
    return read_chunk(data, watch, sink, ctx);
}

enum failure openai_chat_judge_end(const struct chat_watch *watch)
{
    if (watch->failure != FAILURE_NONE)
        return watch->failure;
    if (watch->begun == 0)
        return watch->output ? TRUNCATED : EMPTY;
    if (!watch->stopped || (unsigned)__builtin_popcountll(watch->closed) <
                               (watch->expected < 64 ? watch->expected : 64))
        return TRUNCATED;
    return watch->output || watch->cut_short || watch->own[OPENAI_BARE] != 0 ? FAILURE_NONE : EMPTY;
}

/* ---- an answer in one piece ---- */

bool openai_chat_is_cut_json(struct span text)
{
    size_t depth = 0;
    bool string = false;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                string = false;
        } else if (c == '"') {
            string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && (depth == 0 || --depth == 0)) {
            return false;
        }
    }
    return depth > 0;
}

void openai_chat_fail(struct chat_watch *watch, enum failure f, const char *message)
{
    watch->failure = f;
    watch->error = (struct chat_error){.status = 502};
    chat_error_mask(span_of(message), watch->error.message, sizeof(watch->error.message));
}

static void judge_answer(const struct openai_chat_found *found, struct span body,
                         struct chat_watch *watch)
{
    if (found->error || !found->choices) {
        enum failure f = openai_chat_find_error(body, found->error, &watch->error);

        if (f != FAILURE_NONE) {
            watch->failure = f;
            return;
        }
    }
    if (found->bad_finish.n != 0)
        watch->failure = bad_finish(found->bad_finish, &watch->error);
    else if (found->begun == 0 && !found->output)
        openai_chat_fail(watch, EMPTY, "the answer holds no choices");
    else if (!found->output && !found->cut_short && watch->own[OPENAI_BARE] == 0)
        openai_chat_fail(watch, EMPTY, "the answer holds neither text nor a tool call");
}

void openai_chat_judge_text(struct span body, struct chat_watch *watch)
{
    if (body.n == 0)
        openai_chat_fail(watch, EMPTY, "the answer's body is empty");
    else if (openai_chat_is_html(body))
        watch->failure = openai_chat_find_error(body, true, &watch->error);
    else if (openai_chat_is_cut_json(body))
        openai_chat_fail(watch, TRUNCATED, "the answer's JSON ends before it is complete");
    else
        openai_chat_fail(watch, MALFORMED, "the answer is not JSON");
}

void openai_chat_read_answer(struct span body, struct chat_watch *watch, chat_sink *sink, void *ctx)
{
    struct openai_chat_found found;

    body = openai_chat_skip_lead(body);
    if (!openai_chat_look(body, true, watch, &found)) {
        openai_chat_judge_text(body, watch);
        return;
    }
    judge_answer(&found, body, watch);
    if (watch->failure != FAILURE_NONE)
        return;
    if (sink != NULL)
        openai_chat_tell(body, true, watch, &found, sink, ctx);
    learn(watch, &found);
    watch->stopped = watch->end = true;
    if (sink != NULL)
        sink(ctx, &(struct chat_event){.kind = CHAT_END});
}
