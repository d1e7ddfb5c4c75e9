/* attempt_parts.h - what the two kinds of attempt share.
 *
 *   attempt.c      a model's answer: read, judged, perhaps translated
 *   attempt_raw.c  a request that is handed on unread
 *
 * Nobody else includes it.
 */
#ifndef HOLDFAST_PROXY_ATTEMPT_PARTS_H
#define HOLDFAST_PROXY_ATTEMPT_PARTS_H

#include "proxy/attempt.h"

#define ATTEMPT_MAX_ERROR (64 * 1024) /* read of an error's body; more is not looked at */

/* An event that says no more than its kind. */
void attempt_tell(struct attempt *a, enum failover_event_kind kind);

/* It is over, and failed; `text` is for people. */
void attempt_fail(struct attempt *a, enum failure why, const char *text);

/* The same, by what an answer with an error status says (a->held). */
void attempt_judge_error(struct attempt *a);

/* What of a provider's head any client may see; everything else stays here. */
bool attempt_shows(const struct attempt *a, struct span name);

/* Takes a header line of the provider's along for the client: whole, or where there is no room for
 * it not at all. */
void attempt_keep_field(struct attempt *a, const struct http1_header *h);

/* Reads what the provider's head says of time and allowances. */
void attempt_read_limits(struct attempt *a, const struct http1_head *head);

#endif
