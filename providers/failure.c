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
        return 6;
    case RATE_LIMITED:
        return 5;
    case DNS:
    case REFUSED:
    case CONNECT_TIMEOUT:
    case TLS_FAILED:
    case EGRESS_PROXY:
    case RESET:
    case PROTOCOL:
    case FIRST_TOKEN:
    case SLOWER:
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
        return 4;
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
        return 3;
    case UNFIT:
    case UNSUPPORTED:
    case MODEL_GONE:
        return 2;
    case REDIRECT:
    case NOT_IMPLEMENTED:
    case AUTH:
    case FORBIDDEN:
    case QUOTA:
        return 1;
    case FAILURE_NONE:
    case FAILURE_KINDS:
        break;
    }
    return 0;
}

static const char *again_text(enum failure_again again)
{
    switch (again) {
    case AGAIN_NO:
        break;
    case AGAIN_LATER:
        return "after the others";
    case AGAIN_KEY:
        return "with another key";
    }
    return "no";
}

static const char *blame_text(enum failure_blame blame)
{
    switch (blame) {
    case NEUTRAL:
        break;
    case BLAME:
        return "counts for its breaker";
    case THROTTLE:
        return "rests until Retry-After";
    case KEY_REST:
        return "the key rests";
    }
    return "nothing";
}

void failure_manual(struct strbuf *out)
{
    strbuf_add(out,
               "# How an attempt can end\n\n"
               "Each attempt at a target ends in exactly one of these ways. `x-holdfast-trail`, "
               "the metrics and the log name them by their label.\n\n"
               "| label | what happened | same target again | next target | the target | "
               "client gets | x-should-retry |\n"
               "|---|---|---|---|---|---|---|\n");
    for (unsigned i = 0; i < FAILURE_KINDS; i++) {
        const struct failure_row *r = &rows[i];

        strbuf_addf(out, "| `%s` | %s | %s | %s | %s | ", r->label, r->text, again_text(r->again),
                    r->next ? "yes" : "no", blame_text(r->blame));
        if (r->status != 0)
            strbuf_addf(out, "%u", r->status);
        else
            strbuf_add(out, "the provider's 4xx, 503 or 504, else 502");
        strbuf_addf(out, " | %s |\n", r->retry ? "true" : "false");
    }
}
