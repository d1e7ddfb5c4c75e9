/* tls.h - OpenSSL's place on the wire: which certificates we trust, TLS towards providers and
 * towards clients.
 *
 * One trust store for the whole process, shared by all connections (loading the system's
 * certificates costs some 20 ms): the system's default directory and file, and beside them what
 * SSL_CERT_DIR and SSL_CERT_FILE name.
 */
#ifndef HOLDFAST_WIRE_TLS_H
#define HOLDFAST_WIRE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/base/err.h"

/* Once, before any connection. -1 with *e where SSL_CERT_FILE cannot be read. */
int tls_trust_load(struct err *e) MUST_CHECK;

/* Somebody will need the system's certificates: they are read in the background, and whoever needs
 * them first waits for that. Without it they are read when they are needed. */
void tls_trust_expect(void);

/* After the last connection. */
void tls_trust_free(void);

/* What is special about one provider: certificates that are trusted beside the system's, and one
 * that is shown to it. Immutable. */
struct tls_own;

/* Reads the files, PEM; each may be NULL, but not one of cert and key alone. -1 with *e, which
 * names the option and the file. */
int tls_own_new(const char *ca, const char *cert, const char *key, struct tls_own **out,
                struct err *e) MUST_CHECK;
void tls_own_free(struct tls_own *o); /* NULL is fine; connections go on */

/* Makes an SSL_CTX (passed as void *, as libcurl does) verify against the store, or that of `own`
 * where it is not NULL, and show its certificate; TLS 1.2 or later. */
void tls_trust_use(void *ssl_ctx, const struct tls_own *own);

/* ---- one connection's session, to either side ---- */

struct tls_session;

void tls_session_free(struct tls_session *t); /* NULL is fine; the descriptor stays the caller's */

/* As recv and send: the handshake is made on the way. -1 with errno; EAGAIN: once the descriptor is
 * readable or writable again, whichever it was for. Bytes that were not sent come again, the same
 * ones first, from wherever they then are. Read until EAGAIN: a record may be buffered. */
ssize_t tls_recv(struct tls_session *t, void *p, size_t n);
ssize_t tls_send(struct tls_session *t, const void *p, size_t n);

/* Has the last tls_recv left nothing behind? Then what comes is an event of its own. */
bool tls_drained(const struct tls_session *t);

/* Tells the peer that no more comes, so that the end cannot be taken for a cut. */
void tls_bye(struct tls_session *t);

/* ---- towards providers ---- */

/* The last session with one provider: while it holds, the next handshake needs no certificates
 * (RFC 8446 2.2). Zero at first. Of one thread, and only for one `own` and host: whom a session was
 * made with is not checked again. */
struct tls_memory {
    void *session;
};

void tls_memory_release(struct tls_memory *m);

/* A session with `host`, a name or an address, whose certificate must be for it. The descriptor is
 * connected and does not block. `m` must outlive it. */
struct tls_session *tls_session_open(const struct tls_own *own, int fd, const char *host,
                                     struct tls_memory *m);

/* Goes on with its handshake: 1 when it is through; 0 when the descriptor must be readable or
 * writable first; -1 when it has failed, and why, for people, in `text`. */
int tls_handshake(struct tls_session *t, char *text, size_t size);

/* ---- towards clients ---- */

struct tls_server; /* a certificate and its key; immutable */

/* Reads both files, PEM: the certificate first and its chain behind it. -1 with *e, which names the
 * file. */
int tls_server_new(const char *cert, const char *key, struct tls_server **out,
                   struct err *e) MUST_CHECK;
void tls_server_free(struct tls_server *s); /* NULL is fine; its sessions go on */

/* TLS 1.2 or later. The descriptor stays the caller's, and does not block. */
struct tls_session *tls_session_new(struct tls_server *s, int fd);

#endif
