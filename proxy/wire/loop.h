/* loop.h - one thread's event loop: descriptors, timers, and things to do right after.
 *
 * Shared-nothing: each worker has its own. Descriptors are registered once (edge-triggered where
 * the owner reads and writes until EAGAIN); callbacks run to completion. Something removed inside a
 * batch of events gets none of the batch's later events.
 */
#ifndef HOLDFAST_WIRE_LOOP_H
#define HOLDFAST_WIRE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;

/* Embedded in whoever owns the descriptor. */
struct loop_fd {
    int fd;
    void (*on_event)(struct loop_fd *self, uint32_t events); /* EPOLLIN ... */
};

/* Zero before the first use. */
struct loop_timer {
    uint64_t due_ms;
    size_t slot; /* place in the heap + 1; 0: not set */
    void (*on_due)(struct loop_timer *self);
};

/* Something to do once the current callbacks are through. Zero before the first use. */
struct loop_task {
    struct loop_task *next;
    bool queued;
    void (*run)(struct loop_task *self);
};

struct loop *loop_new(void);
void loop_free(struct loop *l); /* nothing may be registered any more */

int loop_add(struct loop *l, struct loop_fd *f, uint32_t events); /* -1 with errno */
void loop_change(struct loop *l, struct loop_fd *f, uint32_t events);
void loop_remove(struct loop *l, struct loop_fd *f); /* before the descriptor is closed */

/* Sets or moves the timer. */
void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t due_ms);
void loop_timer_clear(struct loop *l, struct loop_timer *t);

void loop_soon(struct loop *l, struct loop_task *t); /* once, however often it is asked */

uint64_t loop_now_ms(const struct loop *l); /* monotonic, as of this batch of events */
uint64_t loop_now_us(const struct loop *l);

void loop_run(struct loop *l);  /* until loop_stop */
void loop_stop(struct loop *l); /* from the loop's own thread */

/* From any thread: has `run` called inside the loop. One slot: calls before it ran are one. */
void loop_wake(struct loop *l);
void loop_on_wake(struct loop *l, void (*run)(void *ctx), void *ctx);

/* When the loop last turned, monotonic us; for liveness, from any thread. */
uint64_t loop_heartbeat_us(const struct loop *l);

#endif
