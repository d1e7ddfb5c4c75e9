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
        {"openai", {"https://api.openai.com/v1", true, false}},
        {"anthropic", {"https://api.anthropic.com", true, false}},
        {"gemini", {"https://generativelanguage.googleapis.com", true, false}},
        {"azure", {NULL, true, false}},
        {"scripted", {NULL, false, true}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].name, type) == 0) {
            *out = rows[i].type;
            return true;
        }
    return false;
}

static const struct config_zero fake_zero[] = {
    {"openai", "OPENAI_API_KEY", "OPENAI_BASE_URL", "gpt-large", "gpt-small", "gpt- o3"},
    {"anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "claude-large", "claude-small",
     "claude-"},
    {"gemini", "GEMINI_API_KEY", "GEMINI_BASE_URL", "gemini-large", "gemini-small", "gemini-"},
    {0},
};

static const struct config_types fake_types = {
    .find = fake_find,
    .names = "openai, anthropic, gemini, azure, scripted",
    .zero = fake_zero,
};

#endif
