/* tls.h - OpenSSL's place on the wire: which certificates we trust.
 *
 * One trust store for the whole process, shared by all connections (loading the system's
 * certificates costs some 20 ms): the system's default directory and file, where SSL_CERT_DIR and
 * SSL_CERT_FILE add to them.
 */
#ifndef HOLDFAST_WIRE_TLS_H
#define HOLDFAST_WIRE_TLS_H

#include "proxy/base/err.h"

/* Once, before any connection. */
int tls_trust_load(struct err *e) MUST_CHECK;
void tls_trust_free(void);

/* Makes an SSL_CTX (passed as void *, as libcurl does) verify against the store, TLS 1.2 or later.
 */
void tls_trust_use(void *ssl_ctx);

#endif
