#include "proxy/wire/tls.h"

#include <assert.h>
#include <openssl/ssl.h>
#include <stdlib.h>

static X509_STORE *store;

int tls_trust_load(struct err *e)
{
    const char *file = getenv("SSL_CERT_FILE");

    assert(store == NULL);
    store = X509_STORE_new();
    if (store == NULL || X509_STORE_set_default_paths(store) != 1)
        return err_set(e, ERR_IO, "cannot open the system's certificate store");
    if (file != NULL && file[0] != '\0' && X509_STORE_load_file(store, file) != 1)
        return err_set(e, ERR_IO, "SSL_CERT_FILE: \"%s\" holds no readable certificates", file);
    return 0;
}

void tls_trust_free(void)
{
    X509_STORE_free(store);
    store = NULL;
}

void tls_trust_use(void *ssl_ctx)
{
    assert(store != NULL);
    SSL_CTX_set1_cert_store(ssl_ctx, store);
    SSL_CTX_set_min_proto_version(ssl_ctx, TLS1_2_VERSION);
    /* A write that would block is repeated from wherever the bytes then are. */
    SSL_CTX_set_mode(ssl_ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}
