/* fields_probes_anthropic.c: one small request for each field and block of Anthropic's messages. */
#include "providers/fields.h"

#define USER  "{\"role\":\"user\",\"content\":\"Hi\"}"
#define CAP   "\"max_tokens\":2000"
#define HI    CAP ",\"messages\":[" USER "]"
#define AFTER ",{\"role\":\"user\",\"content\":\"Go on.\"}]"
#define TOOL  "{\"name\":\"f\",\"input_schema\":{\"type\":\"object\",\"properties\":{}}"
#define TOOLS "\"tools\":[" TOOL "}]"
#define PNG   "{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"iVBORw0KGgo=\"}"
#define PDF   "{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":\"JVBERi0xLjQK\"}"

/* A member of the request, beside one message and the cap. */
#define MEMBER(field, form, json)                                                                  \
    {                                                                                              \
        NULL, field, form, HI, HI "," json                                                         \
    }
#define MEMBER_BESIDE(field, form, b, json)                                                        \
    {                                                                                              \
        NULL, field, form, HI "," b, HI "," b "," json                                             \
    }

/* A block of what the user says, beside a text. */
#define BLOCK(form, json)                                                                          \
    {                                                                                              \
        NULL, "messages[].content[]", form, HI,                                                    \
            CAP ",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","               \
                "\"text\":\"Hi\"}," json "]}]"                                                     \
    }

/* A member of such a block: the block, the same with the member. */
#define IN_BLOCK(field, block, same)                                                               \
    {                                                                                              \
        NULL, "messages[].content[]." field, NULL,                                                 \
            CAP ",\"messages\":[{\"role\":\"user\",\"content\":[" block "]}]",                     \
            CAP ",\"messages\":[{\"role\":\"user\",\"content\":[" same "]}]"                       \
    }

/* A block that the assistant said before a text. */
#define SAID(form, json)                                                                           \
    {                                                                                              \
        NULL, "messages[].content[]", form,                                                        \
            CAP ",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":[{\"type\":\"text\"," \
                "\"text\":\"Yes?\"}]}" AFTER,                                                      \
            CAP ",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":[" json               \
                ",{\"type\":\"text\",\"text\":\"Yes?\"}]}" AFTER                                   \
    }

/* A call with its result. */
#define CALLED(before, content, more)                                                              \
    CAP ",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":[" before                     \
        "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}}]},"                \
        "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\","   \
        "\"content\":" content more "}]}]," TOOLS

/* clang-format off */
const struct field_probe fields_of_anthropic_messages[] = {
    {"The request", "max_tokens", NULL, "\"messages\":[" USER "]", HI},
    {NULL, "max_tokens", "more than any model writes", HI,
     "\"max_tokens\":1000000,\"messages\":[" USER "]"},
    MEMBER("stream", NULL, "\"stream\":true"),
    MEMBER("temperature", NULL, "\"temperature\":0.5"),
    MEMBER("top_p", NULL, "\"top_p\":0.5"),
    MEMBER("top_k", NULL, "\"top_k\":40"),
    MEMBER("stop_sequences", "up to 5", "\"stop_sequences\":[\"END\"]"),
    MEMBER("stop_sequences", "6 and more", "\"stop_sequences\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\"]"),
    MEMBER("thinking", "enabled, with a budget",
           "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}"),
    MEMBER("thinking", "adaptive", "\"thinking\":{\"type\":\"adaptive\"}"),
    MEMBER("thinking", "disabled", "\"thinking\":{\"type\":\"disabled\"}"),
    MEMBER_BESIDE("output_config.effort", "beside adaptive thinking",
                  "\"thinking\":{\"type\":\"adaptive\"}", "\"output_config\":{\"effort\":\"low\"}"),
    MEMBER("metadata.user_id", NULL, "\"metadata\":{\"user_id\":\"u-1\"}"),
    MEMBER("service_tier", NULL, "\"service_tier\":\"standard_only\""),
    MEMBER("context_management", NULL,
           "\"context_management\":{\"edits\":[{\"type\":\"clear_tool_uses_20250919\"}]}"),
    MEMBER("container", NULL, "\"container\":\"container_1\""),
    MEMBER("mcp_servers", NULL,
           "\"mcp_servers\":[{\"type\":\"url\",\"url\":\"https://example.com\",\"name\":\"x\"}]"),
    MEMBER("x_anything", "any field that is not listed", "\"x_anything\":1"),

    {"The form of the answer", "output_config.format", "json_schema", HI,
     HI ",\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\","
     "\"properties\":{\"a\":{\"type\":\"string\"}}}}}"},
    MEMBER("output_format", "the form of before",
           "\"output_format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\"}}"),

    {"Tools", "tools[]", "without a type, or custom", HI, HI "," TOOLS},
    {NULL, "tools[].strict", NULL, HI "," TOOLS, HI ",\"tools\":[" TOOL ",\"strict\":true}]"},
    {NULL, "tools[].cache_control", NULL, HI "," TOOLS,
     HI ",\"tools\":[" TOOL ",\"cache_control\":{\"type\":\"ephemeral\"}}]"},
    {NULL, "tools[].defer_loading", NULL, HI "," TOOLS,
     HI ",\"tools\":[" TOOL ",\"defer_loading\":true}]"},
    MEMBER("tools[]", "of any other type",
           "\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\"}]"),
    MEMBER_BESIDE("tool_choice", "auto", TOOLS, "\"tool_choice\":{\"type\":\"auto\"}"),
    MEMBER_BESIDE("tool_choice", "none", TOOLS, "\"tool_choice\":{\"type\":\"none\"}"),
    MEMBER_BESIDE("tool_choice", "any", TOOLS, "\"tool_choice\":{\"type\":\"any\"}"),
    MEMBER_BESIDE("tool_choice", "one tool", TOOLS,
                  "\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\"}"),
    {NULL, "tool_choice.disable_parallel_tool_use", NULL,
     HI "," TOOLS ",\"tool_choice\":{\"type\":\"auto\"}",
     HI "," TOOLS ",\"tool_choice\":{\"type\":\"auto\",\"disable_parallel_tool_use\":true}"},

    {"Messages", "system", "a text", HI, HI ",\"system\":\"Be brief.\""},
    {NULL, "system[]", "text, with `cache_control`", HI ",\"system\":\"Be brief.\"",
     HI ",\"system\":[{\"type\":\"text\",\"text\":\"Be brief.\",\"cache_control\":{"
     "\"type\":\"ephemeral\"}}]"},
    {NULL, "system[]", "Claude Code's line about billing", HI,
     HI ",\"system\":[{\"type\":\"text\",\"text\":\"x-anthropic-billing-header: cc_version=2\"}]"},
    {NULL, "messages[]", "role system, between the turns (it becomes the user's at Gemini)", HI,
     CAP ",\"messages\":[" USER ",{\"role\":\"system\",\"content\":\"Be brief.\"}]"},
    {NULL, "messages[]", "role assistant", HI,
     CAP ",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"Yes?\"}" AFTER},
    {NULL, "messages[]", "role assistant, as the last one", HI,
     CAP ",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"Yes\"}]"},

    {"Blocks", "messages[].content[]", "text", HI,
     CAP ",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"},"
     "{\"type\":\"text\",\"text\":\"there\"}]}]"},
    BLOCK("image, its data", "{\"type\":\"image\",\"source\":" PNG "}"),
    BLOCK("image, a web address",
          "{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://example.com/a.png\"}}"),
    BLOCK("document, a PDF", "{\"type\":\"document\",\"source\":" PDF "}"),
    IN_BLOCK("title", "{\"type\":\"document\",\"source\":" PDF "}",
             "{\"type\":\"document\",\"source\":" PDF ",\"title\":\"a.pdf\"}"),
    BLOCK("document, a text",
          "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\","
          "\"data\":\"D\"}}"),
    BLOCK("document, a web address",
          "{\"type\":\"document\",\"source\":{\"type\":\"url\","
          "\"url\":\"https://example.com/a.pdf\"}}"),
    BLOCK("by its `file_id`",
          "{\"type\":\"document\",\"source\":{\"type\":\"file\",\"file_id\":\"file_1\"}}"),
    BLOCK("search_result",
          "{\"type\":\"search_result\",\"title\":\"T\",\"source\":\"S\",\"content\":[{"
          "\"type\":\"text\",\"text\":\"R\"}]}"),
    BLOCK("of a type that is not listed", "{\"type\":\"x_block\",\"x\":1}"),
    IN_BLOCK("citations", "{\"type\":\"document\",\"source\":" PDF "}",
             "{\"type\":\"document\",\"source\":" PDF ",\"citations\":{\"enabled\":true}}"),
    IN_BLOCK("cache_control", "{\"type\":\"text\",\"text\":\"Hi\"}",
             "{\"type\":\"text\",\"text\":\"Hi\",\"cache_control\":{\"type\":\"ephemeral\"}}"),
    SAID("thinking, signed by Claude",
         "{\"type\":\"thinking\",\"thinking\":\"Hm.\",\"signature\":\"c2ln\"}"),
    SAID("thinking of another provider, as we gave it",
         "{\"type\":\"thinking\",\"thinking\":\"Hm.\",\"signature\":\"holdfast\"}"),
    SAID("thinking, signed by Gemini, as we gave it",
         "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"holdfast.gemini.c2ln\"}"),
    SAID("redacted_thinking", "{\"type\":\"redacted_thinking\",\"data\":\"c2ln\"}"),
    SAID("server_tool_use and other traces of a provider's own tools",
         "{\"type\":\"server_tool_use\",\"id\":\"srvtoolu_1\",\"name\":\"web_search\",\"input\":{}}"),
    {NULL, "messages[].content[]", "tool_use, with its tool_result", HI "," TOOLS,
     CALLED("", "\"1\"", "")},
    {NULL, "messages[].content[]", "tool_use, with Gemini's state before it, as we gave it",
     CALLED("", "\"1\"", ""),
     CALLED("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"holdfast-call.gemini.c2ln\"},",
            "\"1\"", "")},
    {NULL, "messages[].content[]", "tool_result, with an image", CALLED("", "\"1\"", ""),
     CALLED("", "[{\"type\":\"image\",\"source\":" PNG "}]", "")},
    {NULL, "messages[].content[]", "tool_result, with a PDF", CALLED("", "\"1\"", ""),
     CALLED("", "[{\"type\":\"document\",\"source\":" PDF "}]", "")},
    {NULL, "messages[].content[].is_error", NULL, CALLED("", "\"1\"", ""),
     CALLED("", "\"1\"", ",\"is_error\":true")},
    {0},
};
/* clang-format on */
