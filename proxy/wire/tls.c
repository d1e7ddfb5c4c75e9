#include "proxy/wire/tls.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
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
} trust = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The same on both sides. */
static void set_up(SSL_CTX *c)
{
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    /* A write that would block is repeated from wherever the bytes then are. */
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
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
    return trust.store != NULL ? 0 : -1;
}

void tls_trust_expect(void)
{
    pthread_mutex_lock(&trust.lock);
    if (trust.system == UNREAD && pthread_create(&trust.reader, NULL, read_trust, NULL) == 0)
        trust.system = READING;
    pthread_mutex_unlock(&trust.lock);
}

/* The store, once it is read. */
static X509_STORE *trusted(void)
{
    pthread_mutex_lock(&trust.lock);
    if (trust.system == READING)
        pthread_join(trust.reader, NULL);
    else if (trust.system == UNREAD)
        add_system(trust.store);
    trust.system = READ;
    pthread_mutex_unlock(&trust.lock);
    return trust.store;
}

void tls_trust_free(void)
{
    if (trust.system == READING)
        pthread_join(trust.reader, NULL);
    X509_STORE_free(trust.store);
    trust.store = NULL;
    trust.system = UNREAD;
}

/* ---- what one provider has of its own -------------------------------------------------------- */

struct tls_own {
    X509_STORE *store; /* NULL: the system's */
    SSL_CTX *shown;    /* holds the certificate and its key; NULL: none */
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

int tls_own_new(const char *ca, const char *cert, const char *key, struct tls_own **out,
                struct err *e)
{
    struct tls_own *o = mem_zalloc(sizeof(*o));

    ERR_clear_error();
    if (ca != NULL) {
        o->store = named_store(e);
        if (o->store == NULL)
            goto failed;
        add_system(o->store);
        if (X509_STORE_load_file(o->store, ca) != 1) {
            err_set(e, ERR_VALUE, "ca: no certificate in %s: %s", ca, reason());
            goto failed;
        }
    }
    if (cert != NULL) {
        o->shown = SSL_CTX_new(TLS_client_method());
        if (o->shown == NULL) {
            err_set(e, ERR_IO, "OpenSSL cannot start");
            goto failed;
        }
        if (read_pair(o->shown, cert, key, "client_", e) < 0)
            goto failed;
    }
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
    X509_STORE_free(o->store);
    SSL_CTX_free(o->shown);
    free(o);
}

void tls_trust_use(void *ssl_ctx, const struct tls_own *own)
{
    STACK_OF(X509) *chain = NULL;

    SSL_CTX_set1_cert_store(ssl_ctx, own != NULL && own->store != NULL ? own->store : trusted());
    set_up(ssl_ctx);
    if (own == NULL || own->shown == NULL)
        return;
    SSL_CTX_get0_chain_certs(own->shown, &chain);
    SSL_CTX_use_cert_and_key(ssl_ctx, SSL_CTX_get0_certificate(own->shown),
                             SSL_CTX_get0_privatekey(own->shown), chain, 1);
}

/* ---- towards clients ------------------------------------------------------------------------- */

static SSL_CTX *context_of(struct tls_server *s)
{
    return (SSL_CTX *)s;
}

static SSL *ssl_of(struct tls_session *t)
{
    return (SSL *)t;
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
    SSL *ssl = SSL_new(context_of(s));

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1)
        abort(); /* out of memory */
    SSL_set_accept_state(ssl);
    return (struct tls_session *)ssl;
}

void tls_session_free(struct tls_session *t)
{
    SSL_free(ssl_of(t));
}

/* Whoever speaks plain HTTP here learns what to do. */
static void answer_plainly(struct tls_session *t)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 46\r\nConnection: close\r\n\r\n"
                               "this port speaks TLS: use https:// in the URL\n";

    send(SSL_get_fd(ssl_of(t)), text, sizeof(text) - 1, MSG_NOSIGNAL);
}

/* errno and the result of recv or send for what OpenSSL says. */
static ssize_t result(struct tls_session *t, int rc)
{
    switch (SSL_get_error(ssl_of(t), rc)) {
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
    rc = SSL_read(ssl_of(t), p, n > INT_MAX ? INT_MAX : (int)n);
    return rc > 0 ? rc : result(t, rc);
}

ssize_t tls_send(struct tls_session *t, const void *p, size_t n)
{
    int rc;

    ERR_clear_error();
    errno = 0;
    rc = SSL_write(ssl_of(t), p, n > INT_MAX ? INT_MAX : (int)n);
    return rc > 0 ? rc : result(t, rc);
}

void tls_bye(struct tls_session *t)
{
    ERR_clear_error();
    if (SSL_is_init_finished(ssl_of(t)))
        SSL_shutdown(ssl_of(t));
}
