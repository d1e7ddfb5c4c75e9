/* status_command.h - `holdfast status`: asks the admin port of the one that runs, and prints what
 * it says, as a table or as it is. Colours only at a terminal, and not with NO_COLOR.
 */
#ifndef HOLDFAST_OPS_STATUS_COMMAND_H
#define HOLDFAST_OPS_STATUS_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"

struct status_ask {
    const struct config_listen *where;
    bool json;
    uint64_t every_ms; /* again and again, without end; 0: once */
};

/* What becomes the exit code. */
enum {
    STATUS_SERVED,   /* every route has a target that may be asked */
    STATUS_UNSERVED, /* one has none */
    STATUS_SILENT,   /* nobody answers, or somebody else */
};

int status_command(const struct status_ask *ask);

#endif
