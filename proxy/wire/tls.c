#include "proxy/wire/tls.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/base/mem.h"

/* What all trust. To read the some hundred certificates of a system takes several times as long as
 * the rest of a start, so that a thread does it while the listeners are opened already, and nobody
 * where no provider has need of it. */
static struct {
    pthread_mutex_t lock;
    pthread_t reader;
    enum { UNREAD, READING, READ } system; /* READING: by the reader, who is to be waited for */
    X509_STORE *store;
    SSL_CTX *context; /* with the store, for providers that have nothing of their own */
} trust = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The same on both sides. */
static void set_up(SSL_CTX *c)
{
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    /* A write that would block is repeated from wherever the bytes then are. */
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

/* A session that may be resumed, as soon as the provider has said so. A copy of it, because OpenSSL
 * spoils that of a connection that is cut, which is no ground since TLS 1.1 (RFC 4346 7.2.1). */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_memory *m = SSL_get_app_data(ssl);

    SSL_SESSION_free(m->session);
    m->session = SSL_SESSION_dup(session);
    return 0;
}

static void resume_session(SSL *ssl, const struct tls_memory *m)
{
    SSL_SESSION *copy = m->session != NULL ? SSL_SESSION_dup(m->session) : NULL;

    if (copy != NULL)
        SSL_set_session(ssl, copy);
    SSL_SESSION_free(copy);
}

/* What all connections to providers with these certificates share. NULL: OpenSSL cannot start. */
static SSL_CTX *client_context(X509_STORE *store)
{
    static const unsigned char http1[] = "\x08http/1.1";
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());

    if (c == NULL)
        return NULL;
    set_up(c);
    SSL_CTX_set1_cert_store(c, store);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_alpn_protos(c, http1, sizeof(http1) - 1);
    SSL_CTX_set_read_ahead(c, 1); /* one read for a record's head and the record */
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c, keep_session);
    return c;
}

/* A variable that is set and not empty, or NULL. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* What the variables name. OpenSSL by itself takes them in place of the system's. NULL with *e. */
static X509_STORE *named_store(struct err *e)
{
    const char *file = variable("SSL_CERT_FILE"), *folder = variable("SSL_CERT_DIR");
    X509_STORE *s = X509_STORE_new();

    if (s == NULL || (folder != NULL && X509_STORE_load_path(s, folder) != 1))
        err_set(e, ERR_IO, "cannot open a certificate store");
    else if (file != NULL && X509_STORE_load_file(s, file) != 1)
        err_set(e, ERR_IO, "SSL_CERT_FILE: \"%s\" holds no readable certificates", file);
    else
        return s;
    X509_STORE_free(s);
    return NULL;
}

/* A system has either of the two, or both. The folder is only looked into when one is asked for. */
static void add_system(X509_STORE *s)
{
    X509_STORE_load_file(s, X509_get_default_cert_file());
    X509_STORE_load_path(s, X509_get_default_cert_dir());
    ERR_clear_error();
}

static void *read_trust(void *unused)
{
    (void)unused;
    add_system(trust.store);
    return NULL;
}

int tls_trust_load(struct err *e)
{
    assert(trust.store == NULL);
    trust.store = named_store(e); /* now, as what somebody has set may be wrong */
    if (trust.store == NULL)
        return -1;
    trust.context = client_context(trust.store);
    return trust.context != NULL ? 0 : err_set(e, ERR_IO, "OpenSSL cannot start");
}

void tls_trust_expect(void)
{
    pthread_mutex_lock(&trust.lock);
    if (trust.system == UNREAD && pthread_create(&trust.reader, NULL, read_trust, NULL) == 0)
        trust.system = READING;
    pthread_mutex_unlock(&trust.lock);
}

/* The context for all, once the store is read. */
static SSL_CTX *trusting(void)
{
    pthread_mutex_lock(&trust.lock);
    if (trust.system == READING)
        pthread_join(trust.reader, NULL);
    else if (trust.system == UNREAD)
        add_system(trust.store);
    trust.system = READ;
    pthread_mutex_unlock(&trust.lock);
    return trust.context;
}

void tls_trust_free(void)
{
    if (trust.system == READING)
        pthread_join(trust.reader, NULL);
    SSL_CTX_free(trust.context);
    X509_STORE_free(trust.store);
    trust.context = NULL;
    trust.store = NULL;
    trust.system = UNREAD;
}

/* ---- what one provider has of its own -------------------------------------------------------- */

struct tls_own {
    SSL_CTX *context; /* its certificate and key, if it shows one, are there */
    bool all;         /* only the system's certificates are trusted */
};

/* Why OpenSSL did not like it; the last word is the most precise one. */
static const char *reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = ERR_reason_error_string(code);

    return text != NULL ? text : "it cannot be read";
}

static int read_pair(SSL_CTX *c, const char *cert, const char *key, const char *prefix,
                     struct err *e)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(c, cert) != 1)
        return err_set(e, ERR_VALUE, "%scert: no certificate in %s: %s", prefix, cert, reason());
    if (SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(c) != 1)
        return err_set(e, ERR_VALUE, "%skey: %s is no key of this certificate: %s", prefix, key,
                       reason());
    return 0;
}

/* The system's, what the variables name, and `ca`. NULL with *e. */
static X509_STORE *store_with(const char *ca, struct err *e)
{
    X509_STORE *s = named_store(e);

    if (s == NULL)
        return NULL;
    add_system(s);
    if (X509_STORE_load_file(s, ca) == 1)
        return s;
    err_set(e, ERR_VALUE, "ca: no certificate in %s: %s", ca, reason());
    X509_STORE_free(s);
    return NULL;
}

int tls_own_new(const char *ca, const char *cert, const char *key, struct tls_own **out,
                struct err *e)
{
    struct tls_own *o = mem_zalloc(sizeof(*o));
    X509_STORE *store = trust.store;

    ERR_clear_error();
    o->all = ca == NULL;
    if (ca != NULL) {
        store = store_with(ca, e);
        if (store == NULL)
            goto failed;
    }
    o->context = client_context(store);
    if (ca != NULL)
        X509_STORE_free(store); /* the context has it */
    if (o->context == NULL) {
        err_set(e, ERR_IO, "OpenSSL cannot start");
        goto failed;
    }
    if (cert != NULL && read_pair(o->context, cert, key, "client_", e) < 0)
        goto failed;
    *out = o;
    return 0;

failed:
    tls_own_free(o);
    return -1;
}

void tls_own_free(struct tls_own *o)
{
    if (o == NULL)
        return;
    SSL_CTX_free(o->context);
    free(o);
}

/* What connects to such a provider, once the certificates that it needs are read. */
static SSL_CTX *context_for(const struct tls_own *own)
{
    SSL_CTX *all = own == NULL || own->all ? trusting() : NULL;

    return own == NULL ? all : own->context;
}

void tls_trust_use(void *ssl_ctx, const struct tls_own *own)
{
    SSL_CTX *c = context_for(own);
    STACK_OF(X509) *chain = NULL;

    SSL_CTX_set1_cert_store(ssl_ctx, SSL_CTX_get_cert_store(c));
    set_up(ssl_ctx);
    if (SSL_CTX_get0_certificate(c) == NULL)
        return;
    SSL_CTX_get0_chain_certs(c, &chain);
    SSL_CTX_use_cert_and_key(ssl_ctx, SSL_CTX_get0_certificate(c), SSL_CTX_get0_privatekey(c),
                             chain, 1);
}

/* ---- sessions -------------------------------------------------------------------------------- */

struct tls_session {
    SSL *ssl;
    int fd;
    bool drained; /* the last read from fd took all there was */
};

/* OpenSSL's own socket would not tell whether something stayed behind. */
static int socket_read(BIO *b, char *p, int n)
{
    struct tls_session *t = BIO_get_data(b);
    ssize_t got = recv(t->fd, p, (size_t)n, 0);

    BIO_clear_retry_flags(b);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(b);
    t->drained = got < n;
    return (int)got;
}

static int socket_write(BIO *b, const char *p, int n)
{
    struct tls_session *t = BIO_get_data(b);
    ssize_t sent = send(t->fd, p, (size_t)n, MSG_NOSIGNAL);

    BIO_clear_retry_flags(b);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(b);
    return (int)sent;
}

static long socket_control(BIO *b, int what, long n, void *p)
{
    (void)b, (void)n, (void)p;
    return what == BIO_CTRL_FLUSH; /* nothing is held back here */
}

static struct {
    pthread_once_t once;
    BIO_METHOD *method;
} sockets = {.once = PTHREAD_ONCE_INIT};

static void make_method(void)
{
    sockets.method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "holdfast socket");
    if (sockets.method == NULL)
        abort(); /* out of memory */
    BIO_meth_set_read(sockets.method, socket_read);
    BIO_meth_set_write(sockets.method, socket_write);
    BIO_meth_set_ctrl(sockets.method, socket_control);
}

static struct tls_session *session_new(SSL_CTX *c, int fd)
{
    struct tls_session *t = mem_zalloc(sizeof(*t));
    BIO *b;

    pthread_once(&sockets.once, make_method);
    b = BIO_new(sockets.method);
    t->fd = fd;
    t->ssl = SSL_new(c);
    if (b == NULL || t->ssl == NULL)
        abort(); /* out of memory */
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    return t;
}

void tls_session_free(struct tls_session *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl);
    free(t);
}

/* Whoever speaks plain HTTP here learns what to do. */
static void answer_plainly(struct tls_session *t)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 46\r\nConnection: close\r\n\r\n"
                               "this port speaks TLS: use https:// in the URL\n";

    send(t->fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
}

/* errno and the result of recv or send for what OpenSSL says. */
static ssize_t result(struct tls_session *t, int rc)
{
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        if (errno == 0)
            errno = ECONNRESET;
        return -1;
    default:
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST)
            answer_plainly(t);
        errno = EPROTO;
        return -1;
    }
}

ssize_t tls_recv(struct tls_session *t, void *p, size_t n)
{
    int rc;

    ERR_clear_error();
    errno = 0;
    rc = SSL_read(t->ssl, p, n > INT_MAX ? INT_MAX : (int)n);
    return rc > 0 ? rc : result(t, rc);
}

ssize_t tls_send(struct tls_session *t, const void *p, size_t n)
{
    int rc;

    ERR_clear_error();
    errno = 0;
    rc = SSL_write(t->ssl, p, n > INT_MAX ? INT_MAX : (int)n);
    return rc > 0 ? rc : result(t, rc);
}

bool tls_drained(const struct tls_session *t)
{
    return t->drained && SSL_has_pending(t->ssl) == 0;
}

void tls_bye(struct tls_session *t)
{
    ERR_clear_error();
    if (SSL_is_init_finished(t->ssl))
        SSL_shutdown(t->ssl);
}

/* ---- towards providers ----------------------------------------------------------------------- */

void tls_memory_release(struct tls_memory *m)
{
    SSL_SESSION_free(m->session);
    m->session = NULL;
}

/* What the certificate must be for. A name is also told to the peer, an address never (RFC 6066 3).
 */
static bool expect_host(SSL *ssl, const char *host)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1)
        return true;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls_session *tls_session_open(const struct tls_own *own, int fd, const char *host,
                                     struct tls_memory *m)
{
    struct tls_session *t = session_new(context_for(own), fd);

    if (!expect_host(t->ssl, host))
        abort(); /* out of memory */
    SSL_set_app_data(t->ssl, m);
    resume_session(t->ssl, m);
    SSL_set_connect_state(t->ssl);
    return t;
}

/* Why a handshake has failed, for people. */
static void tell_why(SSL *ssl, int saved_errno, char *text, size_t size)
{
    long verified = SSL_get_verify_result(ssl);
    const char *name = X509_VERIFY_PARAM_get0_host(SSL_get0_param(ssl), 0);
    char *address = X509_VERIFY_PARAM_get1_ip_asc(SSL_get0_param(ssl));

    if (verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH)
        snprintf(text, size,
                 "SSL certificate problem: no alternative certificate subject name matches target "
                 "host name '%s'",
                 name != NULL ? name : address);
    else if (verified != X509_V_OK)
        snprintf(text, size, "SSL certificate problem: %s",
                 X509_verify_cert_error_string(verified));
    else if (ERR_peek_last_error() != 0)
        snprintf(text, size, "the TLS handshake failed: %s", reason());
    else
        snprintf(text, size, "the TLS handshake was cut off: %s",
                 saved_errno != 0 ? strerror(saved_errno) : "connection closed");
    OPENSSL_free(address);
}

int tls_handshake(struct tls_session *t, char *text, size_t size)
{
    SSL *ssl = t->ssl;
    int rc;

    ERR_clear_error();
    errno = 0;
    rc = SSL_do_handshake(ssl);
    if (rc == 1)
        return 1;
    rc = SSL_get_error(ssl, rc);
    if (rc == SSL_ERROR_WANT_READ || rc == SSL_ERROR_WANT_WRITE)
        return 0;
    tell_why(ssl, errno, text, size);
    tls_memory_release(SSL_get_app_data(ssl)); /* the next one does without it */
    return -1;
}

/* ---- towards clients ------------------------------------------------------------------------- */

static SSL_CTX *context_of(struct tls_server *s)
{
    return (SSL_CTX *)s;
}

static int choose_http1(SSL *ssl, const unsigned char **out, unsigned char *n,
                        const unsigned char *in, unsigned in_n, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";

    (void)ssl;
    (void)arg;
    return SSL_select_next_proto((unsigned char **)out, n, ours, sizeof(ours) - 1, in, in_n) ==
                   OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
}

int tls_server_new(const char *cert, const char *key, struct tls_server **out, struct err *e)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());

    ERR_clear_error();
    if (c == NULL)
        return err_set(e, ERR_IO, "tls: OpenSSL cannot start");
    set_up(c);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_alpn_select_cb(c, choose_http1, NULL);
    if (read_pair(c, cert, key, "tls.", e) == 0) {
        *out = (struct tls_server *)c;
        return 0;
    }
    SSL_CTX_free(c);
    return -1;
}

void tls_server_free(struct tls_server *s)
{
    SSL_CTX_free(context_of(s));
}

struct tls_session *tls_session_new(struct tls_server *s, int fd)
{
    struct tls_session *t = session_new(context_of(s), fd);

    SSL_set_accept_state(t->ssl);
    return t;
}
