/* notify.h - what the service manager is told of our life. */
#ifndef HOLDFAST_OPS_NOTIFY_H
#define HOLDFAST_OPS_NOTIFY_H

/* Sends "READY=1", "STOPPING=1" to the manager that waits for it (sd_notify(3): one datagram to the
 * socket that NOTIFY_SOCKET names). Without a manager, or if it does not listen, nothing happens.
 */
void notify_manager(const char *state);

#endif
