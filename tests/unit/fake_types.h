/* fake_types.h - provider types for the tests of config/, in place of the catalog's. */
#ifndef HOLDFAST_TESTS_FAKE_TYPES_H
#define HOLDFAST_TESTS_FAKE_TYPES_H

#include <string.h>

#include "config/config.h"

static bool fake_find(const char *type, struct config_type *out)
{
    static const struct {
        const char *name;
        struct config_type type;
    } rows[] = {
        {"openai", {"https://api.openai.com/v1", true, false, true, true}},
        {"anthropic", {"https://api.anthropic.com", true, false, false, false}},
        {"gemini", {"https://generativelanguage.googleapis.com", true, false, false, false}},
        {"azure", {NULL, true, false, true, false}},
        {"scripted", {NULL, false, true, false, false}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].name, type) == 0) {
            *out = rows[i].type;
            return true;
        }
    return false;
}

static const struct config_zero fake_zero[] = {
    {
        .name = "openai",
        .env_key = "OPENAI_API_KEY",
        .env_url = "OPENAI_BASE_URL",
        .flagship = "gpt-large",
        .fast = "gpt-small",
        .reasoning = "o3",
        .prefixes = "gpt- o3",
        .reasoners = "o3*",
    },
    {
        .name = "anthropic",
        .env_key = "ANTHROPIC_API_KEY",
        .env_url = "ANTHROPIC_BASE_URL",
        .flagship = "claude-large",
        .fast = "claude-small",
        .reasoning = "claude-opus",
        .prefixes = "claude-",
        .reasoners = "claude-*opus* claude-*thinking*",
    },
    {
        /* It has nothing else for those who think at length. */
        .name = "gemini",
        .env_key = "GEMINI_API_KEY",
        .env_url = "GEMINI_BASE_URL",
        .flagship = "gemini-large",
        .fast = "gemini-small",
        .prefixes = "gemini-",
    },
    {0},
};

static const struct config_types fake_types = {
    .find = fake_find,
    .names = "openai, anthropic, gemini, azure, scripted",
    .zero = fake_zero,
};

#endif
