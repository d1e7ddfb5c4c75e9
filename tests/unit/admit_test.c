#include "proxy/admit.h"

#include "tests/unit/world.h"

#define ROUTES                                                                                     \
    "providers: {p: {type: scripted, text: hello}}\nroutes: [{model: \"*\", targets: [p]}]\n"

/* On this machine only. */
#define LOCAL_ONLY "listen: [127.0.0.1:8090]\n" ROUTES

/* The keys are "alpha-key" and "beta-key". */
#define CLIENTS                                                                                    \
    "clients:\n"                                                                                   \
    "- {name: alpha, key_sha256: "                                                                 \
    "677509799af78b2efa2f2af71d0f906e0a0c50c048efd3b515625f788e92b99a}\n"                          \
    "- {name: beta, key_sha256: "                                                                  \
    "7a3d637bc601f7000cc2c33141c8c8a7554e02e319fa8b293a0c88c613b77620}\n"

static struct config *parse(const char *yaml)
{
    struct config *c = NULL;
    struct err e = {0};

    if (config_parse("t", yaml, strlen(yaml), &catalog_config_types, &c, &e) < 0)
        fail_msg("%s", e.msg);
    return c;
}

static struct admit_request get(const char *target)
{
    return (struct admit_request){
        .method = SPAN("GET"), .target = span_of(target), .host = SPAN("127.0.0.1:8090")};
}

static struct admit_request post(void)
{
    struct admit_request r = get("/v1/chat/completions");

    r.method = SPAN("POST");
    r.content_type = SPAN("application/json");
    return r;
}

/* The status of the refusal, or 0. */
static unsigned refusal(const struct config *c, const struct admit_request *r)
{
    struct admission out;
    bool in = admit(c, r, &out);

    CHECK((out.error.status == 0) == in);
    CHECK(in || (out.error.code[0] != '\0' && out.error.message[0] != '\0'));
    return out.error.status;
}

/* ---- where it comes from ----------------------------------------------------------------------
 */

struct host_row {
    const char *host;
    bool in;
};

static void check_hosts(const char *yaml, const struct host_row *rows, size_t n)
{
    struct config *c = parse(yaml);

    for (size_t i = 0; i < n; i++) {
        struct admit_request r = get("/livez");
        unsigned want = rows[i].in ? 0 : 421;

        r.host = span_of(rows[i].host);
        if (refusal(c, &r) != want)
            fail_msg("host %s: got %u, want %u", rows[i].host, refusal(c, &r), want);
    }
    config_free(c);
}

TEST(only_names_of_this_machine_are_its_hosts)
{
    static const struct host_row rows[] = {
        {"127.0.0.1:8090", true},
        {"127.0.0.1", true},
        {"127.9.8.7:1", true},
        {"localhost:8090", true},
        {"LOCALHOST", true},
        {"[::1]:8090", true},
        {"[::1]", true},
        {NULL, true}, /* HTTP/1.0 */
        {"127.evil.example", false},
        {"127.0.0.1.evil.example:8090", false},
        {"127.0.0.1x", false},
        {"evil.example", false},
        {"evil.example:8090", false},
        {"localhost.evil.example", false},
        {"xlocalhost", false},
        {"[::2]:8090", false},
        {"[::1].evil.example", false},
        {"[::1", false},
        {"10.0.0.1:8090", false},
        {"0.0.0.0:8090", false},
        {"128.0.0.1", false},
        {":8090", false},
        {"evil.example:127.0.0.1", false},
        {"localhost:80:90", false},
    };

    check_hosts(LOCAL_ONLY, rows, ARRAY_LEN(rows));
}

TEST(configured_hosts_are_names_with_any_port_or_none)
{
    static const struct host_row rows[] = {
        {"llm.example", true},       {"LLM.example:443", true},  {"10.1.2.3:1", true},
        {"[fd00::9]:8090", true},    {"[fd00::9]", true},        {"x.llm.example", false},
        {"llm.example.evil", false}, {"[fd00::99]:8090", false}, {"[fd00::9]x", false},
        {"[llm.examplex", false},
    };

    check_hosts("hosts: [llm.example, 10.1.2.3, \"fd00::9\"]\n" LOCAL_ONLY, rows, ARRAY_LEN(rows));
}

TEST(the_listeners_own_addresses_are_hosts)
{
    static const struct host_row rows[] = {
        {"10.1.2.3:8090", true}, {"10.1.2.3", true},        {"[fd00::7]:8091", true},
        {"[fd00::7]", true},     {"[fd00::8]:8091", false}, {"fd00::7", false},
        {"evil.example", false},
    };

    check_hosts("listen: [\"10.1.2.3:8090\", \"[fd00::7]:8091\"]\ninsecure: true\n" ROUTES, rows,
                ARRAY_LEN(rows));
}

TEST(where_every_caller_shows_a_key_an_open_listener_takes_any_host)
{
    static const struct host_row any[] = {{"anything.example", true}};
    static const struct host_row none[] = {{"anything.example", false}};

    check_hosts("listen: [\"0.0.0.0:8090\"]\n" CLIENTS ROUTES, any, 1);
    check_hosts(CLIENTS LOCAL_ONLY, none, 1);
    check_hosts("listen: [\"0.0.0.0:8090\"]\ninsecure: true\n" ROUTES, none, 1);
}

TEST(a_foreign_host_is_refused_before_anything_else_and_named)
{
    struct config *c = parse(CLIENTS LOCAL_ONLY);
    struct admit_request r = get("/nothing");
    struct admission out;

    r.host = SPAN("evil.example");
    r.origin = SPAN("https://evil.example");
    CHECK(!admit(c, &r, &out));
    CHECK_INT(out.error.status, 421);
    CHECK_STR(out.error.code, "host_not_allowed");
    CHECK(strstr(out.error.message, "evil.example") != NULL);
    config_free(c);
}

TEST(web_pages_are_refused_unless_their_origin_is_configured)
{
    static const struct {
        const char *origin, *site;
        unsigned want;
    } rows[] = {
        {NULL, NULL, 0},
        {NULL, "none", 0},
        {NULL, "same-origin", 0},
        {NULL, "cross-site", 403},
        {NULL, "same-site", 403},
        {NULL, "", 403},
        {"https://app.example", "cross-site", 0},
        {"HTTPS://APP.example", NULL, 0},
        {"http://app.example", NULL, 403},
        {"https://app.example:444", NULL, 403},
        {"https://evil.example", NULL, 403},
        {"https://evil.example", "same-origin", 403},
        {"null", NULL, 403},
        {"", NULL, 403},
    };
    struct config *c = parse("origins: [\"https://app.example\"]\n" LOCAL_ONLY);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct admit_request r = get("/livez");

        r.origin = span_of(rows[i].origin);
        r.sec_fetch_site = span_of(rows[i].site);
        if (refusal(c, &r) != rows[i].want)
            fail_msg("origin %s, site %s: got %u", rows[i].origin, rows[i].site, refusal(c, &r));
    }
    config_free(c);
}

/* ---- what it wants ----------------------------------------------------------------------------
 */

TEST(paths_lead_to_endpoints_with_or_without_v1_and_with_slashes_too_many)
{
    static const struct {
        const char *target;
        enum door_kind kind;
        const char *model;
    } rows[] = {
        {"/livez", DOOR_LIVEZ, NULL},
        {"/livez?verbose", DOOR_LIVEZ, NULL},
        {"//livez", DOOR_LIVEZ, NULL},
        {"/readyz", DOOR_READYZ, NULL},
        {"/v1/livez", DOOR_PASS, NULL},
        {"/livez/x", DOOR_NONE, NULL},
        {"/v1/models", DOOR_MODELS, NULL},
        {"/v1/models/", DOOR_MODELS, NULL},
        {"/models?limit=3", DOOR_MODELS, NULL},
        {"//v1///models", DOOR_MODELS, NULL},
        {"/v1/models/gpt-4o", DOOR_MODEL, "gpt-4o"},
        {"/models//gpt-4o?a/b", DOOR_MODEL, "gpt-4o"},
        {"/v1/models/openai/gpt-4o", DOOR_MODEL, "openai/gpt-4o"},
        {"/v1/modelsx", DOOR_PASS, NULL},
        {"/v1/files/f/content?x=1", DOOR_PASS, NULL},
        {"/images/generations", DOOR_PASS, NULL},
        {"/imagesx", DOOR_NONE, NULL},
        {"/v1/realtime?model=x", DOOR_PASS, NULL}, /* it asks for no WebSocket */
        {"/v1", DOOR_NONE, NULL},
        {"/", DOOR_NONE, NULL},
        {"", DOOR_NONE, NULL},
        {"*", DOOR_NONE, NULL},
        {"/v1/v1/models", DOOR_NONE, NULL},
        {"/v2/models", DOOR_NONE, NULL},
        {"/v1/streams/0a1b", DOOR_STREAM, "0a1b"},
        {"//streams//0a1b?x", DOOR_STREAM, "0a1b"},
        {"/v1/streams/0a1b/2", DOOR_STREAM, "0a1b/2"}, /* whose id is wrong */
        {"/v1/streams/", DOOR_PASS, NULL},
        {"/V1/models", DOOR_NONE, NULL},
    };
    struct config *c = parse(LOCAL_ONLY);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct admit_request r = get(rows[i].target);
        struct admission out;
        bool in = admit(c, &r, &out);

        if (out.door.kind != rows[i].kind || in != (rows[i].kind != DOOR_NONE))
            fail_msg("%s leads to %d", rows[i].target, out.door.kind);
        CHECK_INT(out.error.status, in ? 0 : 404);
        CHECK_SPAN(out.door.model, rows[i].model != NULL ? rows[i].model : "");
    }
    config_free(c);
}

TEST(googles_paths_tell_the_model_what_is_asked_and_in_which_form)
{
    static const struct {
        const char *target, *model;
        enum door_kind kind;
        bool stream, list;
    } rows[] = {
        {"/v1beta/models/m:generateContent", "m", DOOR_ANSWER, false, false},
        {"/v1/models/m:generateContent?key=k", "m", DOOR_ANSWER, false, false},
        {"/models/m:generateContent?alt=sse", "m", DOOR_ANSWER, false, false},
        {"//v1beta//models/a/b:8b:streamGenerateContent?x=1&alt=sse", "a/b:8b", DOOR_ANSWER, true,
         false},
        {"/v1beta/models/m:streamGenerateContent", "m", DOOR_ANSWER, true, true},
        {"/v1beta/models/m:streamGenerateContent?alt=json&xalt=sse", "m", DOOR_ANSWER, true, true},
        {"/v1beta/models/m:countTokens", "m", DOOR_COUNT, false, false},
        {"/v1beta/models/m:predict", "m:predict", DOOR_MODEL, false, false},
        {"/v1beta/models", "", DOOR_MODELS, false, false},
        {"/v1beta/models/m", "m", DOOR_MODEL, false, false},
        {"/v1beta/files", "", DOOR_PASS, false, false},
        {"/v1/x?key=k", "", DOOR_PASS, false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct door d = door_find(span_of(rows[i].target), &(struct door_hints){0});

        if (d.kind != rows[i].kind || d.stream != rows[i].stream || d.list != rows[i].list)
            fail_msg("%s leads to %d", rows[i].target, d.kind);
        CHECK_SPAN(d.model, rows[i].model);
        CHECK(d.dialect == &dialect_gemini);
    }
}

TEST(googles_paths_tell_whether_one_text_or_several_are_embedded)
{
    struct door one =
        door_find(SPAN("/v1beta/models/m:embedContent?key=k"), &(struct door_hints){0});
    struct door many =
        door_find(SPAN("/v1/models/a/m:batchEmbedContents"), &(struct door_hints){0});

    CHECK(one.dialect == &dialect_gemini_embeddings && one.kind == DOOR_ANSWER && !one.batch);
    CHECK_SPAN(one.model, "m");
    CHECK(many.dialect == &dialect_gemini_embeddings && many.kind == DOOR_ANSWER && many.batch);
    CHECK_SPAN(many.model, "a/m");
    CHECK(!many.stream && !many.list);
}

TEST(a_model_in_a_path_is_plain_text_that_any_path_may_hold)
{
    static const char *const bad[] = {"",    "a..b",  "a%2e.b", "%",    "a%4", "a%4g",
                                      "a b", "a%20b", "a%00",   "a\"b", "a?b", "a#b"};
    struct arena a;
    struct span out;
    char name[DOOR_MAX_MODEL + 2];

    arena_init(&a);
    CHECK(door_model(SPAN("openai%2Fgpt-4%6f.1:8b@x_+"), &a, &out));
    CHECK_SPAN(out, "openai/gpt-4o.1:8b@x_+");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (door_model(span_of(bad[i]), &a, &out))
            fail_msg("%s is taken", bad[i]);
    memset(name, 'a', sizeof(name));
    CHECK(door_model((struct span){name, DOOR_MAX_MODEL}, &a, &out));
    CHECK(!door_model((struct span){name, DOOR_MAX_MODEL + 1}, &a, &out));
    arena_release(&a);
}

TEST(the_door_decides_on_the_dialect_and_headers_where_the_path_does_not)
{
    const struct dialect *openai = &dialect_openai_chat, *anthropic = &dialect_anthropic_messages;
    const struct {
        const char *target;
        bool version; /* anthropic-version is there */
        enum door_kind kind;
        const struct dialect *dialect;
    } rows[] = {
        {"/v1/messages", false, DOOR_ANSWER, anthropic},
        {"//messages?beta=true", true, DOOR_ANSWER, anthropic},
        {"/v1/messages/count_tokens?beta=true", true, DOOR_COUNT, anthropic},
        {"/v1/messages/batches", false, DOOR_PASS, anthropic},
        {"/v1/messages/count_tokens/x", false, DOOR_PASS, anthropic},
        {"/v1/messagesx", false, DOOR_PASS, openai},
        {"/v1/files", true, DOOR_PASS, anthropic},
        {"/v1/files", false, DOOR_PASS, openai},
        {"/v1/realtime", false, DOOR_TUNNEL, openai},
        {"/v1/models", true, DOOR_MODELS, anthropic},
        {"/v1/models/m", true, DOOR_MODEL, anthropic},
        {"/v1/models", false, DOOR_MODELS, openai},
        {"/v1/chat/completions", true, DOOR_ANSWER, openai},
        {"/v1/completions", false, DOOR_ANSWER, &dialect_openai_completions},
        {"//embeddings?x=1", true, DOOR_ANSWER, &dialect_openai_embeddings},
        {"/v1/embeddings/x", false, DOOR_PASS, openai},
        {"/v1beta/models/m:embedContent", false, DOOR_ANSWER, &dialect_gemini_embeddings},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct door d =
            door_find(span_of(rows[i].target), &(struct door_hints){.anthropic = rows[i].version});

        if (d.kind != rows[i].kind || d.dialect != rows[i].dialect)
            fail_msg("%s leads to %d of %s", rows[i].target, d.kind, d.dialect->name);
    }
}

TEST(what_is_handed_on_stands_below_the_base_url)
{
    static const struct {
        const char *target, *want;
    } rows[] = {
        {"/v1/files", "/base/files"},
        {"//v1//files///a%20b/", "/base/files/a%20b"},
        {"/files?key=k&limit=2&after=x", "/base/files?limit=2&after=x"},
        {"/v1/files?limit=2&key=k", "/base/files?limit=2"},
        {"/v1/files?", "/base/files"},
        {"/v1/files?&&a&monkey=1", "/base/files?a&monkey=1"},
        {"/v1beta/files/x:y?alt=media", "/base/files/x:y?alt=media"},
    };
    struct arena a;

    arena_init(&a);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span target = span_of(rows[i].target);
        struct door d = door_find(target, &(struct door_hints){0});

        CHECK(d.kind == DOOR_PASS);
        CHECK_SPAN(door_path(&d, SPAN("/base"), target, &a), rows[i].want);
    }
    arena_release(&a);
}

TEST(chat_is_found_under_all_its_spellings)
{
    static const struct {
        const char *target;
        unsigned want;
    } rows[] = {
        {"/v1/chat/completions", 0},
        {"/chat/completions", 0},
        {"//v1//chat//completions", 0},
        {"/v1/chat/completions/", 0},
        {"/v1/chat/completions?x=/y", 0},
        {"/chat/completions/x", 404},
        {"/chat", 404},
        {"/completions/x", 404},
        {"/chat/completionsx", 404},
        {"/xchat/completions", 404},
        {"/v1/v1/chat/completions", 404},
    };
    struct config *c = parse(LOCAL_ONLY);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct admit_request r = post();

        r.target = span_of(rows[i].target);
        if (refusal(c, &r) != rows[i].want)
            fail_msg("%s: got %u", rows[i].target, refusal(c, &r));
    }
    config_free(c);
}

TEST(what_is_not_there_is_named_without_its_query)
{
    struct config *c = parse(LOCAL_ONLY);
    struct admit_request r = get("/nothing?key=secret");
    struct admission out;

    CHECK(!admit(c, &r, &out));
    CHECK(strstr(out.error.message, "/nothing;") != NULL);
    CHECK(strstr(out.error.message, "secret") == NULL);
    config_free(c);
}

TEST(each_endpoint_has_its_methods)
{
    static const struct {
        const char *method, *target;
        unsigned want;
        const char *allow;
    } rows[] = {
        {"GET", "/livez", 0, NULL},
        {"HEAD", "/livez", 0, NULL},
        {"POST", "/livez", 405, "GET, HEAD"},
        {"HEAD", "/v1/models", 0, NULL},
        {"POST", "/v1/models", 405, "GET, HEAD"},
        {"DELETE", "/v1/models/x", 405, "GET, HEAD"},
        {"GET", "/v1/streams/x", 0, NULL},
        {"HEAD", "/v1/streams/x", 405, "GET"},
        {"POST", "/v1/streams/x", 405, "GET"},
        {"POST", "/v1/chat/completions", 0, NULL},
        {"GET", "/v1/chat/completions", 405, "POST"},
        {"post", "/v1/chat/completions", 405, "POST"},
        {"OPTIONS", "/v1/chat/completions", 405, "POST"},
        {"DELETE", "/v1/files/x", 0, NULL},
        {"OPTIONS", "/v1/files", 405, "GET, HEAD, POST, PUT, PATCH, DELETE"},
    };
    struct config *c = parse(LOCAL_ONLY);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct admit_request r = post();
        struct admission out;

        r.method = span_of(rows[i].method);
        r.target = span_of(rows[i].target);
        admit(c, &r, &out);
        CHECK_INT(out.error.status, rows[i].want);
        if (rows[i].allow != NULL)
            CHECK_STR(out.allow, rows[i].allow);
        else
            CHECK(out.allow == NULL);
    }
    config_free(c);
}

/* ---- who it is ----------------------------------------------------------------------------------
 */

TEST(a_key_is_taken_from_any_of_the_places_where_sdks_put_it)
{
    static const struct {
        const char *authorization, *x_api_key, *x_goog_api_key, *api_key, *target;
        const char *client; /* NULL: refused */
    } rows[] = {
        {.authorization = "Bearer alpha-key", .client = "alpha"},
        {.authorization = "bearer  beta-key ", .client = "beta"},
        {.x_api_key = "alpha-key", .client = "alpha"},
        {.x_goog_api_key = "beta-key", .client = "beta"},
        {.api_key = "alpha-key", .client = "alpha"},
        {.target = "/v1/models?key=alpha-key", .client = "alpha"},
        {.target = "/v1/models?alt=sse&key=beta-key&x=1", .client = "beta"},
        {.authorization = "Bearer wrong", .x_api_key = "beta-key", .client = "beta"},
        {.client = NULL},
        {.authorization = "Bearer alpha-ke"},
        {.authorization = "Bearer alpha-key2"},
        {.authorization = "Bearer "},
        {.authorization = "Bearer"},
        {.authorization = "alpha-key"},
        {.authorization = "Basic alpha-key"},
        {.authorization = "Bearer ALPHA-KEY"},
        {.x_api_key = "Bearer alpha-key"},
        {.x_api_key = ""},
        {.target = "/v1/models?xkey=alpha-key"},
        {.target = "/v1/models?key=alpha-key2&key2=x"},
        {.target = "/v1/models&key=alpha-key"},
        {.target = "/v1/models?key="},
    };
    struct config *c = parse(CLIENTS LOCAL_ONLY);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct admit_request r = get(rows[i].target != NULL ? rows[i].target : "/v1/models");
        struct admission out;
        const char *name;

        r.authorization = span_of(rows[i].authorization);
        r.x_api_key = span_of(rows[i].x_api_key);
        r.x_goog_api_key = span_of(rows[i].x_goog_api_key);
        r.api_key = span_of(rows[i].api_key);
        admit(c, &r, &out);
        name = out.client != NULL ? out.client->name : "nobody";
        if (strcmp(name, rows[i].client != NULL ? rows[i].client : "nobody") != 0)
            fail_msg("row %zu is %s", i, name);
        CHECK_INT(out.error.status, rows[i].client != NULL ? 0 : 401);
    }
    config_free(c);
}

TEST(whoever_has_no_valid_key_gets_one_and_the_same_answer)
{
    static const char *const keys[] = {NULL,
                                       "",
                                       "Bearer",
                                       "Bearer x",
                                       "Bearer alpha-kez",
                                       "Basic eDp5",
                                       "Bearer beta-key-and-more"};
    static const char *const targets[] = {"/v1/models", "/v1/models/x", "/v1/chat/completions",
                                          "/nothing"};
    struct config *c = parse(CLIENTS LOCAL_ONLY);
    struct admission first, out;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        for (size_t k = 0; k < ARRAY_LEN(targets); k++) {
            struct admit_request r = get(targets[k]);

            r.authorization = span_of(keys[i]);
            CHECK(!admit(c, &r, &out));
            if (i == 0 && k == 0)
                first = out;
            CHECK_INT(out.error.status, 401);
            CHECK_STR(out.error.message, first.error.message);
            CHECK_STR(out.error.code, "invalid_api_key");
            CHECK(out.client == NULL);
        }
    }
    config_free(c);
}

TEST(probes_of_life_need_no_key)
{
    struct config *c = parse(CLIENTS LOCAL_ONLY);
    struct admit_request live = get("/livez"), ready = get("/readyz");

    CHECK_INT(refusal(c, &live), 0);
    CHECK_INT(refusal(c, &ready), 0);
    config_free(c);
}

TEST(without_clients_no_key_is_asked_for)
{
    struct config *c = parse(LOCAL_ONLY);
    struct admit_request r = get("/v1/models");
    struct admission out;

    r.authorization = SPAN("Bearer sk-whatever");
    CHECK(admit(c, &r, &out));
    CHECK(out.client == NULL);
    config_free(c);
}

/* ---- what it brings
 * ------------------------------------------------------------------------------ */

TEST(whose_an_answer_is_depends_on_the_key_alone_and_not_on_where_it_stands)
{
    struct config *with = parse(CLIENTS LOCAL_ONLY), *without = parse(LOCAL_ONLY);
    uint8_t callers[6][HASH_SHA256_BYTES];
    struct admit_request r[6] = {post(), post(), post(), post(), post(), post()};
    struct admission out;

    r[0].authorization = SPAN("Bearer alpha-key");
    r[1].x_api_key = SPAN("alpha-key");
    r[2].target = SPAN("/v1/chat/completions?key=alpha-key");
    r[3].authorization = SPAN("Bearer beta-key");
    r[4].authorization = SPAN("Bearer none-of-ours"), r[4].x_api_key = SPAN("beta-key");
    for (size_t i = 0; i < 5; i++) {
        CHECK(admit(with, &r[i], &out));
        admit_caller(&r[i], &out, callers[i]);
        CHECK_INT(memcmp(callers[i], callers[0], sizeof(callers[0])) == 0, i < 3);
    }
    CHECK(memcmp(callers[4], callers[3], sizeof(callers[0])) == 0);
    for (size_t i = 0; i < 6; i++) { /* nobody is asked for a key, but some show one */
        CHECK(admit(without, &r[i], &out));
        admit_caller(&r[i], &out, callers[i]);
        CHECK_INT(memcmp(callers[i], callers[0], sizeof(callers[0])) == 0, i < 3);
    }
    CHECK(memcmp(callers[5], callers[4], sizeof(callers[0])) != 0);
    config_free(with);
    config_free(without);
}

TEST(a_body_is_json_in_plain_and_says_so)
{
    static const struct {
        const char *type, *encoding;
        unsigned want;
    } rows[] = {
        {"application/json", NULL, 0},
        {"Application/JSON; charset=utf-8", NULL, 0},
        {"application/json;charset=utf-8", NULL, 0},
        {"application/json ; charset=utf-8", NULL, 0},
        {"application/json", "identity", 0},
        {"application/json", "", 0},
        {"application/jsonp", NULL, 415},
        {"application/json-seq", NULL, 415},
        {"text/json", NULL, 415},
        {"text/plain", NULL, 415}, /* what a web page can send without asking first */
        {"application/x-www-form-urlencoded", NULL, 415},
        {"multipart/form-data; boundary=application/json", NULL, 415},
        {"application/jso", NULL, 415},
        {"", NULL, 415},
        {NULL, NULL, 415},
        {"application/json", "gzip", 415},
        {"application/json", "br", 415},
    };
    struct config *c = parse(LOCAL_ONLY);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct admit_request r = post();

        r.content_type = span_of(rows[i].type);
        r.content_encoding = span_of(rows[i].encoding);
        if (refusal(c, &r) != rows[i].want)
            fail_msg("%s %s: got %u", rows[i].type, rows[i].encoding, refusal(c, &r));
    }
    config_free(c);
}

TEST(what_brings_no_body_needs_no_content_type)
{
    struct config *c = parse(LOCAL_ONLY);
    struct admit_request r = get("/v1/models");

    r.content_type = SPAN("text/plain");
    CHECK_INT(refusal(c, &r), 0);
    config_free(c);
}

TEST(a_body_that_announces_more_than_the_limit_is_refused_with_both_numbers)
{
    struct config *c = parse("limits: {request_body: 2KiB}\n" LOCAL_ONLY);
    struct admit_request r = post();
    struct admission out;

    r.length = 5000;
    CHECK_INT(refusal(c, &r), 0); /* nothing was announced: it is counted as it comes */
    r.has_length = true;
    r.length = 2048;
    CHECK_INT(refusal(c, &r), 0);
    r.length = 2049;
    CHECK(!admit(c, &r, &out));
    CHECK_INT(out.error.status, 413);
    CHECK(strstr(out.error.message, "2049") != NULL && strstr(out.error.message, "2048") != NULL);
    config_free(c);
}

TEST(long_input_does_not_flood_the_message)
{
    struct config *c = parse(LOCAL_ONLY);
    struct admit_request r = post();
    struct admission out;
    char text[2000];

    memset(text, 'x', sizeof(text));
    text[0] = '/';
    r.target = (struct span){text, sizeof(text)};
    CHECK(!admit(c, &r, &out));
    CHECK(strstr(out.error.message, "GET /v1/models") != NULL);
    r = post();
    r.content_type = (struct span){text, sizeof(text)};
    CHECK(!admit(c, &r, &out));
    CHECK(strstr(out.error.message, "send application/json") != NULL);
    r = post();
    r.method = (struct span){text, sizeof(text)};
    CHECK(!admit(c, &r, &out));
    CHECK(strstr(out.error.message, "use POST") != NULL);
    r = post();
    r.host = (struct span){text, sizeof(text)};
    CHECK(!admit(c, &r, &out));
    CHECK(strstr(out.error.message, "hosts:") != NULL);
    config_free(c);
}

TEST_MAIN()
