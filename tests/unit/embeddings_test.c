/* Both dialects of embeddings: what is read of a request, how it is put for a provider, and what
 * its answer is taken for. */
#include "providers/dialect.h"

#include "tests/unit/check.h"

static const struct dialect *const openai = &dialect_openai_embeddings;
static const struct dialect *const gemini = &dialect_gemini_embeddings;

static struct arena a;
static struct chat_request req;
static struct err e;

static int read_request(const struct dialect *d, const char *body, bool batch)
{
    req = (struct chat_request){.vectors = {.batch = batch}};
    if (d == gemini)
        req.model = SPAN("models/m");
    return d->read_request(span_of(body), &a, &req, &e);
}

static void check_refused(const struct dialect *d, const char *body, const char *why)
{
    CHECK_INT(read_request(d, body, d == gemini), -1);
    CHECK_STR(e.msg, why);
}

/* ---- requests ---- */

TEST(a_request_tells_how_many_vectors_are_asked_for_and_in_which_form)
{
    static const struct {
        const char *members;
        unsigned inputs, dimensions;
        bool packed;
    } rows[] = {
        {"\"input\":\"a\"", 1, 0, false},
        {"\"input\":[\"a\"]", 1, 0, false},
        {"\"input\":[\"a\",\"b\",\"c\"],\"encoding_format\":\"float\"", 3, 0, false},
        {"\"input\":[1,2,3]", 1, 0, false},
        {"\"input\":[[1,2],[3]],\"encoding_format\":\"base64\"", 2, 0, true},
        {"\"input\":\"\",\"dimensions\":256,\"encoding_format\":null", 1, 256, false},
        {"\"input\":\"a\",\"dimensions\":0", 1, 0, false},
        {"\"input\":\"a\",\"dimensions\":\"9\",\"stream\":true", 1, 0, false},
    };
    char body[200];

    arena_init(&a);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(body, sizeof(body), "{\"model\":\"m\\u00fc\",%s}", rows[i].members);
        if (read_request(openai, body, false) < 0)
            fail_msg("%s: %s", body, e.msg);
        CHECK_SPAN(req.model, "m\u00fc");
        CHECK_INT(req.vectors.inputs, rows[i].inputs);
        CHECK_INT(req.vectors.dimensions, rows[i].dimensions);
        CHECK(req.vectors.packed == rows[i].packed && !req.stream);
    }
    check_refused(openai, "{\"model\":\"m\"}",
                  "input: expected a string or an array with at least one text, but it is missing");
    check_refused(openai, "{\"model\":\"m\",\"input\":[]}",
                  "input: expected a string or an array with at least one text, got []");
    check_refused(openai, "{\"model\":\"m\",\"input\":\"a\",\"input\":\"b\"}",
                  "input: stands twice in the request, expected once");
    arena_release(&a);
}

TEST(googles_requests_are_counted_in_either_form)
{
    arena_init(&a);
    CHECK_INT(read_request(gemini, "{\"content\":{\"parts\":[{\"text\":\"a\"}]}}", false), 0);
    CHECK_INT(req.vectors.inputs, 1);
    CHECK_SPAN(req.model, "m");
    CHECK_INT(read_request(gemini, "{\"requests\":[{},{}]}", true), 0);
    CHECK_INT(req.vectors.inputs, 2);
    check_refused(gemini, "{\"content\":{}}",
                  "requests: expected an array with at least one request, but it is missing");
    CHECK_INT(read_request(gemini, "{\"requests\":[{}]}", false), -1);
    CHECK_STR(e.msg, "content: expected an object, but it is missing");
    arena_release(&a);
}

static void check_written(const char *body, const char *path, const char *want, const char *dropped)
{
    const struct dialect_target to = {
        .base_path = SPAN("/v1beta"), .model = SPAN("gemini-embedding-001"), .key = SPAN("k")};
    struct conversation c = {.model = SPAN("m")};
    struct strbuf names = strbuf_in(&a, 500);
    struct drops drops = {.names = &names};
    struct dialect_request out;

    CHECK_INT(openai->read_conversation(span_of(body), &a, &c, &e), 0);
    CHECK_INT(gemini->write_conversation(&c, &to, &a, &out, &drops, &e), 0);
    CHECK_SPAN(out.path, path);
    CHECK_SPAN(out.body[0], want);
    CHECK_INT(out.body_bytes, strlen(want));
    CHECK_SPAN(strbuf_span(&out.head_fields), "x-goog-api-key: k\r\n");
    CHECK_SPAN(strbuf_span(&names), dropped);
}

#define MODEL "\"model\":\"models/gemini-embedding-001\""

TEST(texts_are_put_in_googles_words_as_they_stand)
{
    arena_init(&a);
    check_written("{\"model\":\"m\",\"input\":\"a\\u00fc\\n\"}",
                  "/v1beta/models/gemini-embedding-001:embedContent",
                  "{" MODEL ",\"content\":{\"parts\":[{\"text\":\"a\\u00fc\\n\"}]}}", "");
    check_written("{\"input\":[\"a\",\"b\"],\"dimensions\":16,\"user\":\"u\",\"x\":1,\"encoding_"
                  "format\":\"base64\"}",
                  "/v1beta/models/gemini-embedding-001:batchEmbedContents",
                  "{\"requests\":[{" MODEL
                  ",\"content\":{\"parts\":[{\"text\":\"a\"}]},\"outputDimensionality\":16},{" MODEL
                  ",\"content\":{\"parts\":[{\"text\":\"b\"}]},\"outputDimensionality\":16}]}",
                  "user, x");
    arena_release(&a);
}

TEST(tokens_are_refused_by_their_path)
{
    struct conversation c = {0};

    arena_init(&a);
    CHECK_INT(openai->read_conversation(SPAN("{\"input\":[\"a\",7]}"), &a, &c, &e), -1);
    CHECK(strstr(e.msg, "input[1]: expected a text (tokens") == e.msg);
    CHECK_INT(openai->read_conversation(SPAN("{\"input\":\"a\",\"dimensions\":\"9\"}"), &a, &c, &e),
              -1);
    CHECK_STR(e.msg, "dimensions: expected a number, got a string");
    arena_release(&a);
}

TEST(a_google_s_client_s_model_is_replaced_wherever_it_stands)
{
    const struct dialect_target to = {
        .base_path = SPAN("/v1beta"), .model = SPAN("n"), .rewrite_model = true};
    struct dialect_request out;
    struct strbuf all;

    arena_init(&a);
    CHECK_INT(read_request(gemini,
                           "{\"requests\":[ {\"model\":\"models/m\",\"content\":{}},{\"content\":{}"
                           "},{\"content\":{},\"model\" :\"m\"} ]}",
                           true),
              0);
    gemini->write_request(&req, &to, &a, &out, NULL);
    CHECK_SPAN(out.path, "/v1beta/models/n:batchEmbedContents");
    CHECK_SPAN(out.body[0], "{\"requests\":[ {\"model\":\"models/n\",\"content\":{}},{\"content\":{"
                            "}},{\"content\":{},\"model\" :\"n\"} ]}");
    CHECK_INT(out.body_bytes, out.body[0].n);
    CHECK_INT(read_request(gemini, "{\"model\":\"models/m\", \"content\":{}}", false), 0);
    gemini->write_request(&req, &to, &a, &out, NULL);
    all = strbuf_in(&a, 200);
    for (size_t i = 0; i < ARRAY_LEN(out.body); i++)
        strbuf_add_span(&all, out.body[i]);
    CHECK_SPAN(strbuf_span(&all), "{\"model\":\"models/n\", \"content\":{}}");
    CHECK_INT(out.body_bytes, all.len);
    CHECK_SPAN(out.path, "/v1beta/models/n:embedContent");
    arena_release(&a);
}

/* ---- answers ---- */

static struct chat_watch watch;

static enum failure read_answer(const struct dialect *d, unsigned inputs, const char *body)
{
    watch = (struct chat_watch){.vectors = {.inputs = inputs}};
    d->read_answer(span_of(body), &watch, NULL, NULL);
    CHECK(watch.end == (watch.failure == FAILURE_NONE));
    return watch.failure;
}

#define ITEM(i, v)  "{\"embedding\":" v ",\"index\":" #i "}"
#define DATA(items) "{\"data\":[" items "],\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}"

TEST(an_answer_has_each_input_s_vector_once_in_any_order)
{
    CHECK_INT(read_answer(openai, 2, DATA(ITEM(0, "[1]") "," ITEM(1, "[2]"))), FAILURE_NONE);
    CHECK(watch.usage.seen);
    CHECK_INT(watch.usage.input, 5);
    CHECK_INT(read_answer(openai, 2, DATA(ITEM(1, "[1]") "," ITEM(0, "[2]"))), FAILURE_NONE);
    CHECK_INT(read_answer(openai, 2, DATA("{\"embedding\":[1]},{\"embedding\":[2]}")),
              FAILURE_NONE);
    CHECK_INT(read_answer(openai, 2, DATA(ITEM(0, "[1]") "," ITEM(0, "[2]"))), MALFORMED);
    CHECK_INT(read_answer(openai, 2, DATA(ITEM(1, "[1]") "," ITEM(2, "[2]"))), MALFORMED);
    CHECK_INT(read_answer(openai, 2, DATA(ITEM(-1, "[1]") "," ITEM(0, "[2]"))), MALFORMED);
    CHECK_INT(read_answer(openai, 2, DATA(ITEM(0, "[1]"))), TRUNCATED);
    CHECK_INT(read_answer(openai, 1, DATA("7")), EMPTY);
    CHECK_INT(read_answer(openai, 1, DATA("{}")), MALFORMED);
    CHECK_INT(read_answer(openai, 1, DATA("")), EMPTY);
    CHECK_INT(read_answer(openai, 1, "\n {\"data\":[" ITEM(0, "[1]") "]}"), FAILURE_NONE);
    CHECK(!watch.usage.seen);
}

TEST(what_is_no_answer_is_told_by_what_it_is)
{
    CHECK_INT(read_answer(openai, 1, ""), EMPTY);
    CHECK_INT(read_answer(openai, 1, "{}"), EMPTY);
    CHECK_INT(read_answer(openai, 1, "{\"data\":{}}"), EMPTY);
    CHECK_INT(read_answer(openai, 1, "[]"), EMPTY);
    CHECK_INT(read_answer(openai, 1, "<html><title>x</title></html>"), HTML_PAGE);
    CHECK_INT(read_answer(openai, 1, "{\"data\":[" ITEM(0, "[1,")), TRUNCATED);
    CHECK_INT(read_answer(openai, 1, "{\"data\":[" ITEM(0, "[NaN]") "]}"), MALFORMED);
    CHECK_INT(
        read_answer(openai, 1, "{\"error\":{\"message\":\"m\",\"type\":\"rate_limit_error\"}}"),
        RATE_LIMITED);
    CHECK_INT(read_answer(gemini, 1, ""), EMPTY);
    CHECK_INT(read_answer(gemini, 1, "{}"), EMPTY);
    CHECK_INT(read_answer(gemini, 1, "{\"embedding\":{}}"), MALFORMED);
    CHECK_INT(read_answer(gemini, 2, "{\"embedding\":{\"values\":[1]}}"), TRUNCATED);
    CHECK_INT(read_answer(gemini, 1, "{\"embeddings\":[{\"values\":[1]}"), TRUNCATED);
    CHECK_INT(read_answer(gemini, 1, "{\"embeddings\":7}"), EMPTY);
    CHECK_INT(read_answer(gemini, 1,
                          "{\"error\":{\"code\":429,\"message\":\"m\",\"status\":"
                          "\"RESOURCE_EXHAUSTED\"}}"),
              RATE_LIMITED);
}

static void check_translated(const char *body, struct chat_vectors asked, const char *want)
{
    struct answer_writer w = {.model = SPAN("g"), .packed = asked.packed, .arena = &a};
    struct strbuf out = strbuf_in(&a, 4096);
    struct fold f;

    watch = (struct chat_watch){.vectors = asked};
    fold_init(&f, &a);
    gemini->read_answer(span_of(body), &watch, fold_event, &f);
    CHECK_INT(watch.failure, FAILURE_NONE);
    CHECK(f.end);
    fold_done(&f);
    openai->write_answer(&w, &f, &out);
    CHECK_SPAN(strbuf_span(&out), want);
}

TEST(googles_vectors_go_out_as_they_stand_or_as_base64)
{
    static const char batch[] = "{\"embeddings\":[{\"values\":[1, -2.50]},{\"values\":[0,1e-3]}]}";
    static const char one[] =
        "{\"embedding\":{\"values\":[1]},\"usageMetadata\":{\"promptTokenCount\":3}}";

    arena_init(&a);
    check_translated(batch, (struct chat_vectors){.inputs = 2},
                     "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,"
                     "\"embedding\":[1, -2.50]},{\"object\":\"embedding\",\"index\":1,"
                     "\"embedding\":[0,1e-3]}],\"model\":\"g\",\"usage\":{\"prompt_tokens\":0,"
                     "\"total_tokens\":0}}\n");
    check_translated(one, (struct chat_vectors){.inputs = 1, .packed = true},
                     "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,"
                     "\"embedding\":\"AACAPw==\"}],\"model\":\"g\",\"usage\":{\"prompt_tokens\":3,"
                     "\"total_tokens\":3}}\n");
    arena_release(&a);
}

TEST_MAIN()
