/* worker.h - one thread: its loop, its clients, its connections to providers, its exchanges.
 *
 * Workers share nothing on the way of a request but the targets' health. They are told what to do
 * by flags that their loop looks at when it is woken.
 */
#ifndef HOLDFAST_WIRE_WORKER_H
#define HOLDFAST_WIRE_WORKER_H

#include "proxy/service.h"
#include "proxy/wire/client.h"

struct worker;

/* Starts a thread that serves the given listening sockets (they stay the caller's). It uses the
 * service. */
struct worker *worker_start(struct service *s, const struct client_listener *listeners, size_t n);

/* New requests come to this service from the loop's next turn on; those under way end with the one
 * they began with, however long that takes. */
void worker_change(struct worker *w, struct service *s);

/* No new connections; what is under way goes on. `handed_over`: another process listens on. */
void worker_drain(struct worker *w, bool handed_over);
void worker_break(struct worker *w); /* what is still under way gets a true error now */
bool worker_drains(
    const struct worker *w);              /* it has begun to: no listening socket is its any more */
bool worker_idle(const struct worker *w); /* nothing is under way (once it drains) */
void worker_stop(struct worker *w);       /* ends the thread and frees all; after draining or not */

/* When its loop last turned, monotonic us. */
uint64_t worker_pulse_us(const struct worker *w);

#endif
