/* process.h - what the operating system knows of this process, for metrics and status. */
#ifndef HOLDFAST_OPS_PROCESS_H
#define HOLDFAST_OPS_PROCESS_H

#include <stdint.h>

struct process_now {
    uint64_t cpu_us;         /* user and system together, all threads */
    uint64_t resident_bytes; /* 0 where /proc cannot be read */
    uint64_t open_fds;       /* ditto */
    uint64_t max_fds;        /* the soft limit */
};

struct process_now process_read(void);

#endif
