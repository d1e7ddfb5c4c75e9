#include "providers/gemini.h"

#include <stdio.h>

#include "providers/openai_chat.h"

static void learn(struct chat_watch *w, const struct gemini_found *f)
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

static void fail(struct chat_watch *watch, enum failure f, unsigned status, const char *message)
{
    watch->failure = f;
    watch->error = (struct chat_error){.status = status};
    chat_error_mask(span_of(message), watch->error.message, sizeof(watch->error.message));
}

/* What makes a fragment useless although it is valid. */
static bool is_useless(const struct gemini_found *found, struct chat_watch *watch)
{
    char text[400];

    if (found->partial_args) {
        fail(watch, UNSUPPORTED, 502,
             "the provider sends the arguments of a function call in pieces, expected them whole");
        return true;
    }
    /* Behind output that the client has, it is just how the answer ended. */
    if (found->bad_finish.n == 0 || watch->output)
        return false;
    snprintf(text, sizeof(text), "the provider ended its answer with finishReason %.*s %.*s",
             (int)(found->bad_finish.n < 40 ? found->bad_finish.n : 40), found->bad_finish.p,
             (int)(found->bad_detail.n < 300 ? found->bad_detail.n : 300),
             found->bad_detail.n != 0 ? found->bad_detail.p : "");
    fail(watch, CONFLICT, 502, text);
    return true;
}

/* ---- one event of a stream ---- */

static enum dialect_event read_error(struct span text, bool certain, struct chat_watch *watch)
{
    enum failure f = gemini_find_error(text, certain, &watch->error);

    if (f == FAILURE_NONE)
        return EVENT_NOTHING;
    watch->failure = f;
    return EVENT_ERROR;
}

/* Nearly every fragment is a piece of text of the only candidate, with counts that grow. */
enum { LIKE_TEXT, LIKE_REASONING, LIKE_CANDIDATES, LIKE_THOUGHTS, LIKE_TOTAL };

static void remember(struct chat_watch *w, struct span data, const struct gemini_found *f)
{
    struct span values[LIKE_VALUES] = {[LIKE_CANDIDATES] = f->n_candidates,
                                       [LIKE_THOUGHTS] = f->n_thoughts,
                                       [LIKE_TOTAL] = f->n_total};
    uint64_t thoughts = gemini_count(f->n_thoughts);
    uint64_t output = gemini_count(f->n_candidates) + thoughts;

    if (f->told != 1 || f->text.n <= 2 || f->begun != 1 || f->closed != 0)
        return;
    for (unsigned i = LIKE_CANDIDATES; i <= LIKE_TOTAL; i++)
        if (json_type_of(values[i]) != JSON_NUMBER)
            values[i] = (struct span){0};
    /* Whatever makes the counts others than those two is too seldom. */
    if (f->usage.seen && ((values[LIKE_CANDIDATES].n == 0 && values[LIKE_THOUGHTS].n == 0) ||
                          f->usage.reasoning != thoughts || f->usage.output != output))
        return;
    values[f->thought ? LIKE_REASONING : LIKE_TEXT] = f->text;
    like_learn(&w->like, data, values);
}

static void tell_like(struct chat_watch *w, const struct span *values, chat_sink *sink, void *ctx)
{
    bool thought = values[LIKE_REASONING].n != 0;
    struct chat_event ev = {.kind = thought ? CHAT_REASONING : CHAT_TEXT,
                            .text = values[thought ? LIKE_REASONING : LIKE_TEXT]};

    if (sink != NULL)
        sink(ctx, &ev);
    if (values[LIKE_CANDIDATES].n == 0 && values[LIKE_THOUGHTS].n == 0)
        return;
    w->usage.reasoning = gemini_count(values[LIKE_THOUGHTS]);
    w->usage.output = gemini_count(values[LIKE_CANDIDATES]) + w->usage.reasoning;
    ev = (struct chat_event){.kind = CHAT_USAGE, .usage = w->usage};
    if (sink != NULL)
        sink(ctx, &ev);
}

static enum dialect_event read_fragment(struct span data, struct chat_watch *watch, chat_sink *sink,
                                        void *ctx)
{
    struct span values[LIKE_VALUES];
    struct gemini_found found;
    bool first_stop;

    if (like_is(&watch->like, data, values) &&
        (values[LIKE_TEXT].n > 2 || values[LIKE_REASONING].n > 2)) {
        tell_like(watch, values, sink, ctx);
        return EVENT_OUTPUT;
    }
    if (!gemini_look(data, watch, &found))
        return EVENT_BAD;
    if (found.error || (!found.candidates && !found.blocked)) {
        enum dialect_event event = read_error(data, found.error, watch);

        if (event != EVENT_NOTHING)
            return event;
    }
    if (is_useless(&found, watch))
        return EVENT_ERROR;
    first_stop = (found.closed & ~watch->closed) != 0;
    gemini_tell(data, watch, &found, sink, ctx);
    learn(watch, &found);
    like_forget(&watch->like);
    remember(watch, data, &found);
    if (found.output)
        return EVENT_OUTPUT;
    if (first_stop)
        return EVENT_STOP;
    return found.candidates || found.usage.seen ? EVENT_LIFECYCLE : EVENT_NOTHING;
}

enum dialect_event gemini_read_event(const struct sse_event *ev, struct chat_watch *watch,
                                     chat_sink *sink, void *ctx)
{
    struct span data;

    if (!ev->has_data && !ev->stray)
        return EVENT_NOTHING;
    data = span_trim(openai_chat_skip_lead(ev->data));
    /* Text outside any field is no part of the answer; but errors come so. */
    if (ev->stray)
        return openai_chat_is_html(data) || json_valid(data) ? read_error(data, false, watch)
                                                             : EVENT_NOTHING;
    if (ev->name.n != 0 && span_is(ev->name, "error"))
        return read_error(data, true, watch);
    if (data.n == 0 || span_is(data, "[DONE]")) /* others' mark, which means nothing here */
        return EVENT_NOTHING;
    if (data.p[0] != '{' && data.p[0] != '[')
        return EVENT_BAD;
    return read_fragment(data, watch, sink, ctx);
}

enum failure gemini_judge_end(const struct chat_watch *watch)
{
    if (watch->failure != FAILURE_NONE)
        return watch->failure;
    if ((watch->own[GEMINI_SAID] & GEMINI_BLOCKED) != 0)
        return FAILURE_NONE;
    if (watch->begun == 0)
        return EMPTY;
    if (!watch->stopped || (unsigned)__builtin_popcountll(watch->closed) < watch->expected)
        return TRUNCATED;
    return watch->output || watch->cut_short ? FAILURE_NONE : EMPTY;
}

/* ---- an answer in one piece ---- */

/* What is no JSON. */
static void judge_text(struct span body, struct chat_watch *watch)
{
    if (body.n == 0)
        fail(watch, EMPTY, 502, "the answer's body is empty");
    else if (openai_chat_is_html(body))
        watch->failure = gemini_find_error(body, true, &watch->error);
    else if (openai_chat_is_cut_json(body))
        fail(watch, TRUNCATED, 502, "the answer's JSON ends before it is complete");
    else
        fail(watch, MALFORMED, 502, "the answer is not JSON");
}

static void judge_answer(const struct gemini_found *found, struct span body,
                         struct chat_watch *watch)
{
    enum failure f;

    if (found->error || (!found->candidates && !found->blocked)) {
        f = gemini_find_error(body, found->error, &watch->error);
        if (f != FAILURE_NONE) {
            watch->failure = f;
            return;
        }
    }
    if (is_useless(found, watch))
        return;
    if (found->begun == 0)
        fail(watch, EMPTY, 502, "the answer holds no candidates");
    else if ((found->begun & ~found->closed) != 0)
        fail(watch, TRUNCATED, 502, "the answer holds a candidate without a finishReason");
    else if (!found->output && !found->cut_short)
        fail(watch, EMPTY, 502, "the answer holds neither text nor a function call");
}

void gemini_read_answer(struct span body, struct chat_watch *watch, chat_sink *sink, void *ctx)
{
    struct gemini_found found;

    body = openai_chat_skip_lead(body);
    if (body.n == 0 || !gemini_look(body, watch, &found)) {
        judge_text(body, watch);
        return;
    }
    judge_answer(&found, body, watch);
    if (watch->failure != FAILURE_NONE)
        return;
    gemini_tell(body, watch, &found, sink, ctx);
    learn(watch, &found);
    watch->stopped = watch->end = true;
    if (sink != NULL)
        sink(ctx, &(struct chat_event){.kind = CHAT_END});
}
