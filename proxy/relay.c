#include "proxy/relay.h"

#include <stdio.h>

#define MAX_TRAIL 2048
#define MAX_SAID  500 /* of a provider's own words in an error */
#define MAX_VALUE 256 /* of a name in a header: with the trail, all fits where it is written */

static void add_name(const struct failover *f, const struct failover_try *t, struct span model,
                     struct strbuf *out)
{
    const struct target *target;

    if (t->candidate == UINT8_MAX) { /* the request's own end */
        strbuf_add(out, "request");
        return;
    }
    target = f->candidates[t->candidate].target;
    strbuf_add(out, target->name);
    if (target->model.p == NULL) {
        strbuf_add_char(out, '/');
        strbuf_add_span(out, model);
    }
}

void relay_trail(const struct failover *f, struct span client_model, uint64_t now_ms,
                 struct strbuf *out)
{
    for (unsigned i = 0; i < f->n_tries; i++) {
        const struct failover_try *t = &f->tries[i];
        bool live = t->phase != PHASE_ENDED;
        uint64_t at = !live ? t->ended_ms : t->output_ms != 0 ? t->output_ms : now_ms;

        if (i > 0)
            strbuf_add(out, ", ");
        add_name(f, t, client_model, out);
        strbuf_add_char(out, '=');
        strbuf_add(out, live && t->output_ms == 0 ? "pending" : failure_row(t->outcome)->label);
        if (t->outcome != FAILURE_NONE && t->status != 0) {
            strbuf_add_char(out, ':');
            strbuf_add_u64(out, t->status);
        }
        strbuf_add_char(out, '@');
        strbuf_add_u64(out, at - f->started_ms);
        strbuf_add(out, "ms");
    }
}

/* Header values hold printable ASCII only; a model's name comes from a client or a configuration.
 */
void relay_add_value(struct span value, struct strbuf *out)
{
    for (size_t i = 0; i < value.n; i++)
        strbuf_add_char(out, value.p[i] >= ' ' && value.p[i] < 0x7f ? value.p[i] : '?');
}

static struct span shortened(struct span value)
{
    return value.n > MAX_VALUE ? (struct span){value.p, MAX_VALUE} : value;
}

void relay_fields(const struct failover *f, int served, struct span client_model, uint64_t now_ms,
                  struct strbuf *out)
{
    char mem[MAX_TRAIL];
    struct strbuf trail = strbuf_on(mem, sizeof(mem));

    if (served >= 0 && f->tries[served].candidate != UINT8_MAX) {
        const struct target *t = f->candidates[f->tries[served].candidate].target;

        strbuf_add(out, "x-holdfast-provider: ");
        relay_add_value(shortened(span_of(t->provider->conf->name)), out);
        if (!t->passthrough) {
            strbuf_add(out, "\r\nx-holdfast-model: ");
            relay_add_value(shortened(t->model.p != NULL ? t->model : client_model), out);
        }
        strbuf_add(out, "\r\n");
    }
    strbuf_add(out, "x-holdfast-attempts: ");
    strbuf_add_u64(out, f->n_attempts);
    strbuf_add(out, "\r\nx-holdfast-trail: ");
    relay_trail(f, client_model, now_ms, &trail);
    relay_add_value(strbuf_span(&trail), out);
    strbuf_add(out, "\r\n");
}

void relay_seam(const struct failover *f, int from, int to, struct span client_model,
                const struct seam_join *join, uint64_t wrote, bool guessed, struct strbuf *out)
{
    static const char *const ways[SEAM_WAYS] = {
        [SEAM_PREFILL] = "prefill", [SEAM_TURN] = "turn", [SEAM_ALIGN] = "align"};
    char mem[MAX_TRAIL];
    struct strbuf names = strbuf_on(mem, sizeof(mem));

    strbuf_add(&names, "from=");
    add_name(f, &f->tries[from], client_model, &names);
    strbuf_add(&names, " to=");
    add_name(f, &f->tries[to], client_model, &names);
    strbuf_add(out, ": holdfast seam ");
    relay_add_value(strbuf_span(&names), out);
    strbuf_addf(out, " reason=%s way=%s at=%zu output_tokens=%s",
                failure_row(f->tries[from].outcome)->label, ways[join->way], join->sent.n,
                guessed ? "~" : "");
    strbuf_add_u64(out, wrote);
    strbuf_add(out, "\n\n");
}

/* May the provider's own words stand as the answer? Only where the client can act on them; what is
 * said about our keys and accounts is between the provider and us. */
static bool speaks_to_client(enum failure f)
{
    switch (f) {
    case BAD_REQUEST:
    case CONTEXT_LENGTH:
    case POLICY:
    case TOO_LARGE:
    case CLIENT_ERROR:
    case MODEL_GONE:
    case CONFLICT:
    case UNSUPPORTED:
        return true;
    default:
        return false;
    }
}

void relay_error(const struct failover *f, const struct chat_error *said, struct span client_model,
                 uint64_t now_ms, struct chat_error *out)
{
    const struct failover_try *t = f->verdict >= 0 ? &f->tries[f->verdict] : NULL;
    enum failure why = failover_outcome(f);
    const struct failure_row *row = failure_row(why);
    struct strbuf text = strbuf_on(out->message, sizeof(out->message));

    *out = (struct chat_error){.status = failure_status(why, t != NULL ? t->status : 0)};
    if (t != NULL && said != NULL && speaks_to_client(why)) {
        *out = *said;
        out->status = failure_status(why, t->status);
        text.len = strlen(out->message);
        if (text.len > MAX_SAID) { /* room for the trail, cut between two characters */
            text.len = MAX_SAID;
            while (((unsigned char)out->message[text.len] & 0xc0) == 0x80)
                text.len--;
            out->message[text.len] = '\0';
        }
    } else {
        snprintf(out->code, sizeof(out->code), "%s",
                 f->committed ? "stream_interrupted" : row->label);
        snprintf(out->type, sizeof(out->type), "%s", f->committed ? "upstream_error" : "");
        if (t != NULL)
            add_name(f, t, client_model, &text);
        strbuf_addf(&text, ": %s", row->text);
        if (said != NULL && said->message[0] != '\0')
            strbuf_addf(&text, " (%.200s)", said->message);
    }
    strbuf_add(&text, text.len > 0 ? " [" : "[");
    relay_trail(f, client_model, now_ms, &text);
    strbuf_add(&text, "]");
}

void relay_retry_fields(const struct failover *f, struct strbuf *out)
{
    const struct failure_row *row = failure_row(failover_outcome(f));

    strbuf_add(out, row->retry ? "x-should-retry: true\r\n" : "x-should-retry: false\r\n");
    if (f->retry_after_ms == RETRY_AFTER_NONE ||
        (!row->retry && failure_status(failover_outcome(f), 0) != 503))
        return;
    strbuf_add(out, "retry-after: ");
    strbuf_add_u64(out, retry_after_seconds(f->retry_after_ms));
    strbuf_add(out, "\r\nretry-after-ms: ");
    strbuf_add_u64(out, f->retry_after_ms < 55000 ? f->retry_after_ms : 55000);
    strbuf_add(out, "\r\n");
}
