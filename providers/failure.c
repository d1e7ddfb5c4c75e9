#include "providers/failure.h"

#include <assert.h>

#define FAILURE_ROW(name, label, again, next, blame, marks, status, retry, text)                   \
    [name] = {#name, label, again, next, blame, marks, status, retry, text},
static const struct failure_row rows[] = {FAILURES(FAILURE_ROW)};
#undef FAILURE_ROW

const struct failure_row *failure_row(enum failure f)
{
    assert((unsigned)f < FAILURE_KINDS);
    return &rows[f];
}

unsigned failure_status(enum failure f, unsigned upstream_status)
{
    const struct failure_row *row = failure_row(f);

    if (row->status != 0)
        return row->status;
    if (upstream_status >= 400 && upstream_status < 500)
        return upstream_status;
    return upstream_status == 503 || upstream_status == 504 ? upstream_status : 502;
}

int failure_rank(enum failure f)
{
    switch (f) {
    case BAD_REQUEST:
    case CONTEXT_LENGTH:
    case POLICY:
    case TOO_LARGE:
    case CLIENT_ERROR:
        return 7;
    case RATE_LIMITED:
        return 6;
    case DNS:
    case REFUSED:
    case CONNECT_TIMEOUT:
    case TLS_FAILED:
    case EGRESS_PROXY:
    case RESET:
    case PROTOCOL:
    case FIRST_TOKEN:
    case SLOWER:
    case TIME_SHARE:
    case HEDGE_LOST:
    case IDLE:
    case CONFLICT:
    case REQUEST_TIMEOUT:
    case OVERLOADED:
    case SERVER_ERROR:
    case BAD_GATEWAY:
    case HTML_PAGE:
    case BAD_ENCODING:
    case ANSWER_TOO_BIG:
    case TRUNCATED:
    case MALFORMED:
    case EMPTY:
    case CARRY_REFUSED:
    case SEAM_MISMATCH:
        return 5;
    case SKIPPED_OPEN:
    case SKIPPED_REST:
    case SATURATED:
    case SKIPPED_BUDGET:
    case QUEUE_FULL:
    case DEADLINE:
    case STOPPING:
    case REJECTED:
    case LOCAL:
    case CLIENT_GONE:
        return 4;
    case UNFIT:
    case UNSUPPORTED:
    case MODEL_GONE:
        return 3;
    case REDIRECT:
    case NOT_IMPLEMENTED:
    case AUTH:
    case FORBIDDEN:
    case QUOTA:
    case KEY_SCOPE:
        return 2;
    case OTHER_MODEL:
    case NO_ENDPOINT:
        return 1;
    case FAILURE_NONE:
    case FAILURE_KINDS:
        break;
    }
    return 0;
}

/* ---- the manual's page ------------------------------------------------------------------------
 */

static const char *again_text(const struct failure_row *r)
{
    switch (r->again) {
    case AGAIN_NO:
        break;
    case AGAIN_SOON:
        return "once, after 100 to 300 ms, if it does well otherwise";
    case AGAIN_LATER:
        return "when nobody else is left";
    case AGAIN_KEY:
        return "with another key";
    }
    return "no";
}

static const char *next_text(const struct failure_row *r)
{
    switch (r->next) {
    case NEXT_NO:
        break;
    case NEXT_YES:
        return "yes";
    case NEXT_LARGER:
        return "one with a larger `context_window`";
    }
    return "no";
}

/* What it does to health, and the metric that shows it beside the count of attempts. */
static void add_health(const struct failure_row *r, struct strbuf *out)
{
    static const struct {
        const char *text, *metric;
    } words[] = {
        [NEUTRAL] = {"nothing", ""},
        [BLAME_ENDPOINT] = {"breaker of the endpoint",
                            "`holdfast_breaker_state{scope=\"endpoint\"}`"},
        [BLAME_MODEL] = {"breaker of the model there", "`holdfast_breaker_state{scope=\"model\"}`"},
        [BLAME_PATH] = {"breaker of the outgoing proxy",
                        "`holdfast_breaker_state{scope=\"path\"}`"},
        [THROTTLE] = {"the key rests for this model, or gets fewer at once",
                      "`holdfast_concurrency_limit`"},
        [REST_KEY] = {"the key rests", "`/status`: resting_keys"},
        [REST_TARGET] = {"the target rests", "`/status`: retry_ms"},
    };

    strbuf_add(out, words[r->blame].text);
    if ((r->marks & LOSS) != 0 && r->blame != THROTTLE)
        strbuf_add(out, "; fewer at once");
    if ((r->marks & SLOW) != 0)
        strbuf_add(out, "; behind the others for a while");
    strbuf_addf(out, " | %s", words[r->blame].metric);
}

void failure_manual(struct strbuf *out)
{
    strbuf_add(
        out,
        "# What happens when\n\n"
        "Each attempt at a target ends in exactly one of these ways. `x-holdfast-trail`, the log "
        "and "
        "the metric `holdfast_attempts_total{outcome=\"LABEL\"}` name it by its label; moves from "
        "one "
        "target to another are `holdfast_failovers_total{reason=\"LABEL\"}`. Until real output "
        "came "
        "the caller notices nothing of an attempt that moved on; what it gets is told for the case "
        "that nothing is left. After output it is an error inside the answer, and an aborted "
        "connection.\n\n"
        "| what happens | label | same target again | next target | health | beside the counts, "
        "see | "
        "caller gets | x-should-retry |\n"
        "|---|---|---|---|---|---|---|---|\n");
    for (unsigned i = 0; i < FAILURE_KINDS; i++) {
        const struct failure_row *r = &rows[i];

        strbuf_addf(out, "| %s | `%s` | %s | %s | ", r->text, r->label, again_text(r),
                    next_text(r));
        add_health(r, out);
        if (r->status != 0)
            strbuf_addf(out, " | %u", r->status);
        else
            strbuf_add(out, " | the provider's 4xx, 503 or 504, else 502");
        strbuf_addf(out, " | %s |\n", r->retry ? "true" : "false");
    }
}
