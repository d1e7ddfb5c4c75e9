/* watch.h - did a file change?
 *
 * Looks at files from time to time in place of asking the kernel to tell: that also sees what
 * editors, mounted secrets and network file systems do, which replace files and the links to them
 * rather than write into them.
 */
#ifndef HOLDFAST_OPS_WATCH_H
#define HOLDFAST_OPS_WATCH_H

#include <stddef.h>
#include <stdint.h>

/* A number that is another one once any of the files was written, replaced, made or removed. Links
 * are followed. */
uint64_t watch_look(char *const *files, size_t n);

#endif
