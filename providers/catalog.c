#include "providers/catalog.h"

/* A provider that speaks OpenAI's dialect, keys and all. */
#define OPENAI_LIKE(type, url, key)                                                                \
    {                                                                                              \
        .name = type, .dialect = &dialect_openai_chat, .base_url = url, .path = "",                \
        .needs_key = key                                                                           \
    }

/* The same without what there was before chat. */
#define WITHOUT_COMPLETIONS(type, url, key)                                                        \
    {                                                                                              \
        .name = type, .dialect = &dialect_openai_chat, .base_url = url, .path = "",                \
        .needs_key = key, .no_completions = true                                                   \
    }

/* To add a row: here, in `names` below, and where zero configuration should know it, in `zero`. */
static const struct provider_type types[] = {
    {
        .name = "openai",
        .dialect = &dialect_openai_chat,
        .base_url = "https://api.openai.com/v1",
        .path = "",
        .needs_key = true,
        .responses = true,
    },
    {
        .name = "anthropic",
        .dialect = &dialect_anthropic_messages,
        .base_url = "https://api.anthropic.com",
        .path = "/v1",
        .needs_key = true,
        /* up to 4.5; later models refuse it */
        .prefills = "claude-2* claude-3* claude-instant* claude-*-4 claude-*-4-20* claude-*-4-0* "
                    "claude-*-4-1* claude-*-4-5*",
    },
    {
        .name = "gemini",
        .dialect = &dialect_gemini,
        .base_url = "https://generativelanguage.googleapis.com",
        .path = "/v1beta",
        .needs_key = true,
    },
    /* Below: everybody else whose door is OpenAI's. Names, base URLs and how the key travels are
     * what the providers document. */
    {
        .name = "azure", /* https://NAME.openai.azure.com: the model is the deployment's name */
        .dialect = &dialect_openai_chat,
        .path = "/openai/deployments",
        .key_header = "api-key: ",
        .query = "?api-version=2024-10-21",
        .model_in_path = true,
        .needs_key = true,
    },
    OPENAI_LIKE("cerebras", "https://api.cerebras.ai/v1", true),
    OPENAI_LIKE("cometapi", "https://api.cometapi.com/v1", true),
    {
        .name = "deepseek",
        .dialect = &dialect_openai_chat,
        .base_url = "https://api.deepseek.com/v1",
        .path = "",
        .text_only = true,
        .no_completions = true,
        .needs_key = true,
    },
    OPENAI_LIKE("fireworks", "https://api.fireworks.ai/inference/v1", true),
    WITHOUT_COMPLETIONS("github", "https://models.github.ai/inference", true),
    WITHOUT_COMPLETIONS("groq", "https://api.groq.com/openai/v1", true),
    WITHOUT_COMPLETIONS("huggingface", "https://router.huggingface.co/v1", true),
    {
        .name = "llamacpp",
        .dialect = &dialect_openai_chat,
        .base_url = "http://127.0.0.1:8080/v1",
        .path = "",
        .prefills = "*",
    },
    OPENAI_LIKE("lmstudio", "http://127.0.0.1:1234/v1", false),
    {
        .name = "mistral",
        .dialect = &dialect_openai_chat,
        .base_url = "https://api.mistral.ai/v1",
        .path = "",
        .short_ids = true,
        .no_completions = true,
        .needs_key = true,
    },
    OPENAI_LIKE("ollama", "http://127.0.0.1:11434/v1", false),
    {
        .name = "openrouter",
        .dialect = &dialect_openai_chat,
        .base_url = "https://openrouter.ai/api/v1",
        .path = "",
        .keeps_state = true,
        .needs_key = true,
    },
    {
        .name = "perplexity", /* its endpoints stand at the root */
        .dialect = &dialect_openai_chat,
        .base_url = "https://api.perplexity.ai",
        .path = "",
        .at_root = true,
        .no_completions = true,
        .needs_key = true,
    },
    OPENAI_LIKE("together", "https://api.together.xyz/v1", true),
    OPENAI_LIKE("vllm", "http://127.0.0.1:8000/v1", false),
    {
        .name = "xai",
        .dialect = &dialect_openai_chat,
        .base_url = "https://api.x.ai/v1",
        .path = "",
        .needs_key = true,
        .responses = true,
    },
    {
        .name = "scripted",
        .path = "",
    },
};

static const struct config_zero zero[] = {
    {
        .name = "openai",
        .env_key = "OPENAI_API_KEY",
        .env_url = "OPENAI_BASE_URL",
        .flagship = "gpt-4.1",
        .fast = "gpt-4.1-mini",
        .reasoning = "o3",
        .prefixes = "gpt- chatgpt- o1 o3 o4",
        .reasoners = "o1* o3* o4*",
    },
    {
        .name = "anthropic",
        .env_key = "ANTHROPIC_API_KEY",
        .env_url = "ANTHROPIC_BASE_URL",
        .flagship = "claude-sonnet-4-5",
        .fast = "claude-haiku-4-5",
        .reasoning = "claude-opus-4-5",
        .prefixes = "claude-",
        .reasoners = "claude-*opus* claude-*thinking*",
    },
    {
        .name = "gemini",
        .env_key = "GEMINI_API_KEY",
        .env_url = "GOOGLE_GEMINI_BASE_URL",
        .flagship = "gemini-2.5-pro",
        .fast = "gemini-2.5-flash",
        .reasoning = "gemini-2.5-pro",
        .prefixes = "gemini-",
        .reasoners = "gemini-*thinking* gemini-*deep-think*",
    },
    {0},
};

const struct provider_type *provider_type_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

void provider_type_dialects(const struct provider_type *type, const char *dialect,
                            const char *completions,
                            const struct dialect *out[CATALOG_MAX_DIALECTS])
{
    size_t n = 0;

    for (size_t i = 0; i < CATALOG_MAX_DIALECTS; i++)
        out[i] = NULL;
    out[n++] = dialect != NULL && strcmp(dialect, "responses") == 0 ? &dialect_openai_responses
                                                                    : type->dialect;
    if (dialect != NULL && strcmp(dialect, "both") == 0)
        out[n++] = &dialect_openai_responses;
    if (type->dialect == &dialect_gemini)
        out[n++] = &dialect_gemini_embeddings;
    if (type->dialect != &dialect_openai_chat)
        return;
    out[n++] = &dialect_openai_embeddings;
    if (completions != NULL ? strcmp(completions, "native") == 0 : !type->no_completions)
        out[n++] = &dialect_openai_completions;
}

static bool find_for_config(const char *name, struct config_type *out)
{
    const struct provider_type *t = provider_type_find(name);

    if (t == NULL)
        return false;
    *out = (struct config_type){.base_url = t->base_url,
                                .needs_key = t->needs_key,
                                .local = t->dialect == NULL,
                                .openai_like = t->dialect == &dialect_openai_chat,
                                .both = t->responses};
    return true;
}

const struct config_types catalog_config_types = {
    .find = find_for_config,
    .names =
        "openai, anthropic, gemini, azure, cerebras, cometapi, deepseek, fireworks, github, groq, "
        "huggingface, llamacpp, lmstudio, mistral, ollama, openrouter, perplexity, together, "
        "vllm, xai, scripted",
    .zero = zero,
};

/* ---- base paths ---- */

/* "v1", "v1beta", "v1beta2": what ends a path that carries its version. */
static bool is_version(struct span segment)
{
    size_t i = 1;

    if (segment.n < 2 || segment.p[0] != 'v' || segment.p[1] < '0' || segment.p[1] > '9')
        return false;
    while (i < segment.n && ((segment.p[i] >= '0' && segment.p[i] <= '9') ||
                             (segment.p[i] >= 'a' && segment.p[i] <= 'z')))
        i++;
    return i == segment.n;
}

static struct span last_segment(struct span path)
{
    const char *slash = path.n != 0 ? memrchr(path.p, '/', path.n) : NULL;

    if (slash == NULL)
        return path;
    return (struct span){slash + 1, (size_t)(path.p + path.n - slash - 1)};
}

bool catalog_prefills(const struct provider_type *type, struct span model)
{
    struct span left = span_of(type->prefills);

    while (left.n > 0) {
        const char *space = memchr(left.p, ' ', left.n);
        struct span word = {left.p, space != NULL ? (size_t)(space - left.p) : left.n};

        if (span_glob(word, model))
            return true;
        left.p += word.n + (space != NULL);
        left.n -= word.n + (space != NULL);
    }
    return false;
}

static bool ends_with(struct span path, struct span end)
{
    return path.n >= end.n && memcmp(path.p + path.n - end.n, end.p, end.n) == 0;
}

/* The path of the type's own base URL. */
static struct span default_path(const struct provider_type *type)
{
    const char *host = type->base_url != NULL ? strstr(type->base_url, "://") : NULL;
    const char *path = host != NULL ? strchr(host + 3, '/') : NULL;

    return span_of(path != NULL ? path : "/v1");
}

struct span catalog_base_path(const struct provider_type *type, struct span url_path,
                              struct arena *a)
{
    struct span below = span_of(type->path);
    struct strbuf out;

    while (url_path.n != 0 && url_path.p[url_path.n - 1] == '/')
        url_path.n--;
    if (below.n == 0 && url_path.n == 0 && type->at_root)
        return SPAN("");
    if (below.n == 0)
        return url_path.n != 0 ? url_path : default_path(type);
    if (url_path.n == 0)
        return below;
    if (ends_with(url_path, below))
        return url_path;
    /* Its version is there: what stands behind the version in `below` is missing. */
    if (is_version(last_segment(url_path))) {
        const char *rest = strchr(type->path + 1, '/');

        below = span_of(rest != NULL ? rest : "");
    }
    out = strbuf_in(a, url_path.n + below.n);
    strbuf_add_span(&out, url_path);
    strbuf_add_span(&out, below);
    return strbuf_span(&out);
}
