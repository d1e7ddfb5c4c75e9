#include "providers/catalog.h"

#include <stdio.h>

#include "tests/unit/check.h"

static void check_path(const char *type, const char *url_path, const char *want)
{
    struct arena a;

    arena_init(&a);
    CHECK_SPAN(catalog_base_path(provider_type_find(type), span_of(url_path), &a), want);
    arena_release(&a);
}

TEST(a_base_url_means_the_same_with_and_without_its_version)
{
    check_path("openai", "", "/v1");
    check_path("openai", "/", "/v1");
    check_path("openai", "/v1", "/v1");
    check_path("openai", "/v1/", "/v1");
    check_path("anthropic", "", "/v1");
    check_path("anthropic", "/v1", "/v1");
    check_path("anthropic", "/v1//", "/v1");
    check_path("gemini", "", "/v1beta");
    check_path("gemini", "/v1beta", "/v1beta");

    check_path("gemini", "/v1", "/v1");
}

TEST(a_path_in_front_is_kept)
{
    check_path("openai", "/openai/v1", "/openai/v1");
    check_path("openai", "/api/paas/v4/", "/api/paas/v4");
    check_path("openai", "/proxy", "/proxy");
    check_path("anthropic", "/proxy", "/proxy/v1");
    check_path("anthropic", "/proxy/v1", "/proxy/v1");
    check_path("gemini", "/proxy/v1beta", "/proxy/v1beta");
    check_path("gemini", "/very1", "/very1/v1beta");
    check_path("gemini", "/v1-x", "/v1-x/v1beta");
}

TEST(deployments_and_roots_have_their_own_places)
{
    check_path("azure", "", "/openai/deployments");
    check_path("azure", "/openai/deployments/", "/openai/deployments");
    check_path("perplexity", "", "");
    check_path("perplexity", "/v1", "/v1");
    check_path("groq", "", "/openai/v1");
    check_path("openrouter", "/api/v1/", "/api/v1");
}

static void check_dialects(const char *type, const char *dialect, const char *completions,
                           const char *want)
{
    const struct dialect *d[CATALOG_MAX_DIALECTS];
    char got[200] = "";

    provider_type_dialects(provider_type_find(type), dialect, completions, d);
    for (size_t i = 0; i < CATALOG_MAX_DIALECTS && d[i] != NULL; i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s ", d[i]->name);
    CHECK_STR(got, want);
}

TEST(what_a_provider_speaks_the_usual_first)
{
    check_dialects("openai", "both", NULL,
                   "openai_chat openai_responses openai_embeddings openai_completions ");
    check_dialects("openai", "chat", "chat", "openai_chat openai_embeddings ");
    check_dialects("azure", "responses", NULL,
                   "openai_responses openai_embeddings openai_completions ");
    check_dialects("groq", "chat", NULL, "openai_chat openai_embeddings ");
    check_dialects("groq", "chat", "native", "openai_chat openai_embeddings openai_completions ");
    check_dialects("gemini", NULL, NULL, "gemini gemini_embeddings ");
    check_dialects("anthropic", NULL, NULL, "anthropic_messages ");
    check_dialects("scripted", NULL, NULL, "");
}

TEST(every_type_the_configuration_names_is_there)
{
    struct config_type t;
    char *names = strdup(catalog_config_types.names), *save = NULL;
    unsigned n = 0;

    for (char *s = strtok_r(names, ", ", &save); s != NULL; s = strtok_r(NULL, ", ", &save), n++) {
        CHECK(catalog_config_types.find(s, &t));
        CHECK(t.local == (t.base_url == NULL && !t.needs_key));
        CHECK(t.local == (provider_type_find(s)->dialect == NULL));
    }
    CHECK(n >= 21);
    CHECK(!catalog_config_types.find("openia", &t));
    CHECK(!catalog_config_types.find("", &t));
    CHECK(provider_type_find("nobody") == NULL);
    free(names);
}

/* Its table of types: "| `groq` | `https://api.groq.com/openai/v1` | yes |". */
TEST(the_readme_lists_every_type_with_its_default)
{
    char *names = strdup(catalog_config_types.names), *save = NULL, *readme = NULL;
    FILE *f = fopen(SOURCE_DIR "/README.md", "re");
    size_t size = 0;

    CHECK(f != NULL && getdelim(&readme, &size, '\0', f) > 0);
    fclose(f);
    for (char *s = strtok_r(names, ", ", &save); s != NULL; s = strtok_r(NULL, ", ", &save)) {
        const struct provider_type *t = provider_type_find(s);
        bool url = t->base_url != NULL;
        char row[256];

        snprintf(row, sizeof(row), "\n| `%s` | %s%s%s | %s |", s, url ? "`" : "",
                 url ? t->base_url : "none", url ? "`" : "", t->needs_key ? "yes" : "no");
        if (strstr(readme, row) == NULL)
            fail_msg("README.md has no row%s", row);
    }
    free(readme);
    free(names);
}

TEST(zero_configuration_names_known_types_with_everything_it_needs)
{
    const struct config_zero *z = catalog_config_types.zero;
    struct config_type t;

    CHECK_STR(z[0].name, "openai");
    for (; z->env_key != NULL; z++) {
        CHECK(catalog_config_types.find(z->name, &t));
        CHECK(t.needs_key && !t.local);
        CHECK(z->env_url != NULL && z->flagship != NULL && z->fast != NULL);
        CHECK(z->reasoning != NULL && z->reasoners != NULL);
        /* Its own models are at home with it. */
        CHECK(strncmp(z->flagship, z->prefixes, strcspn(z->prefixes, " ")) == 0);
        CHECK(strncmp(z->fast, z->prefixes, strcspn(z->prefixes, " ")) == 0);
    }
    CHECK_INT(z - catalog_config_types.zero, 3);
}

static void check_prefills(const char *type, const char *model, bool want)
{
    if (catalog_prefills(provider_type_find(type), span_of(model)) != want)
        fail_msg("%s/%s: want %d", type, model, want);
}

TEST(models_that_go_on_inside_a_message_are_known)
{
    static const char *const those[] = {"claude-2.1",
                                        "claude-instant-1.2",
                                        "claude-3-opus-20240229",
                                        "claude-3-5-haiku-latest",
                                        "claude-3-7-sonnet-20250219",
                                        "claude-sonnet-4-20250514",
                                        "claude-opus-4-0",
                                        "claude-opus-4",
                                        "claude-opus-4-1",
                                        "claude-opus-4-1-20250805",
                                        "claude-sonnet-4-5",
                                        "claude-sonnet-4-5-20250929",
                                        "claude-haiku-4-5-20251001"};
    static const char *const others[] = {"claude-opus-4-6",
                                         "claude-sonnet-4-6",
                                         "claude-opus-4-7",
                                         "claude-opus-5",
                                         "claude-sonnet-5-0",
                                         "claude-opus-4-6-20260201",
                                         "gpt-4o",
                                         "my-claude-3",
                                         "claude",
                                         ""};

    for (size_t i = 0; i < sizeof(those) / sizeof(those[0]); i++)
        check_prefills("anthropic", those[i], true);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        check_prefills("anthropic", others[i], false);
}

TEST(a_model_goes_on_inside_a_message_only_where_that_is_known)
{
    check_prefills("llamacpp", "whatever", true);
    check_prefills("llamacpp", "", true);
    check_prefills("openai", "gpt-4o", false);
    check_prefills("openai", "claude-3-opus", false);
    check_prefills("gemini", "gemini-2.5-pro", false);
    check_prefills("scripted", "x", false);
}

/* Of words with space between, each one and nothing of two. */
TEST(each_pattern_of_a_list_stands_for_itself)
{
    const struct provider_type type = {.prefills = "ab* cd ef*gh"};

    CHECK(catalog_prefills(&type, SPAN("ab")) && catalog_prefills(&type, SPAN("abx")));
    CHECK(catalog_prefills(&type, SPAN("cd")) && catalog_prefills(&type, SPAN("ef--gh")));
    CHECK(!catalog_prefills(&type, SPAN("cdx")) && !catalog_prefills(&type, SPAN("c")));
    CHECK(!catalog_prefills(&type, SPAN("efg")) && !catalog_prefills(&type, SPAN("")));
    CHECK(catalog_prefills(&type, SPAN("ab cd")) && !catalog_prefills(&type, SPAN("cd ef")));
}

TEST_MAIN()
