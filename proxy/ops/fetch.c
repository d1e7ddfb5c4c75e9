#include "proxy/ops/fetch.h"

#include <stdlib.h>

#include <curl/curl.h>

static size_t take(char *p, size_t size, size_t n, void *ctx)
{
    struct strbuf *body = ctx;

    strbuf_add_n(body, p, size * n);
    return body->failed ? 0 : size * n; /* 0 ends the transfer */
}

static void prepare(CURL *c, const struct fetch *f, struct strbuf *body)
{
    curl_easy_setopt(c, CURLOPT_URL, f->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, f->unix_path);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)f->timeout_ms);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "holdfast/" HOLDFAST_VERSION);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, body);
}

int fetch_get(const struct fetch *f, unsigned *status, struct strbuf *body, struct err *e)
{
    CURL *c = curl_easy_init();
    char text[CURL_ERROR_SIZE] = "";
    long code = 0;
    CURLcode rc;

    if (c == NULL)
        abort(); /* only out of memory */
    prepare(c, f, body);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, text);
    rc = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_cleanup(c);
    if (body->failed)
        return err_set(e, ERR_TOO_BIG, "the answer has more than %zu bytes", body->max);
    if (rc != CURLE_OK)
        return err_set(e, ERR_IO, "%s", text[0] != '\0' ? text : curl_easy_strerror(rc));
    *status = (unsigned)code;
    return 0;
}
