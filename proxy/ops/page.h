/* page.h - the status page, proxy/ops/page.html, as bytes of the program: it needs no file beside
 * it and nothing from elsewhere.
 */
#ifndef HOLDFAST_OPS_PAGE_H
#define HOLDFAST_OPS_PAGE_H

#include <stddef.h>

extern const unsigned char page_html[];
extern const size_t page_html_bytes;

#endif
