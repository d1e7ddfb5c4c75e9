/* fields_probes.c: one small request for each field, part and tool form of OpenAI chat. */
#include "providers/fields.h"

#define PNG   "data:image/png;base64,iVBORw0KGgo="
#define PDF   "data:application/pdf;base64,JVBERi0xLjQK"
#define USER  "{\"role\":\"user\",\"content\":\"Hi\"}"
#define HI    "\"messages\":[" USER "]"
#define AFTER ",{\"role\":\"user\",\"content\":\"Go on.\"}]"

/* A member of the request, beside one message. */
#define MEMBER(field, form, json)                                                                  \
    {                                                                                              \
        NULL, field, form, HI, HI "," json                                                         \
    }
#define MEMBER_BESIDE(field, form, b, json)                                                        \
    {                                                                                              \
        NULL, field, form, HI "," b, HI "," b "," json                                             \
    }

/* A part of what the user says, beside a text. */
#define PART(form, json)                                                                           \
    {                                                                                              \
        NULL, "messages[].content[]", form, HI,                                                    \
            "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}"    \
            "," json "]}]"                                                                         \
    }

/* A member of such a part: the part, the same with the member. */
#define IN_PART(field, part, same)                                                                 \
    {                                                                                              \
        NULL, "messages[].content[]." field, NULL,                                                 \
            "\"messages\":[{\"role\":\"user\",\"content\":[" part "]}]",                           \
            "\"messages\":[{\"role\":\"user\",\"content\":[" same "]}]"                            \
    }

/* A member of a message that the assistant said before, beside its content. */
#define SAID(field, form, json)                                                                    \
    {                                                                                              \
        NULL, "messages[]." field, form,                                                           \
            "\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"Yes?\"}" AFTER,          \
            "\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"Yes?\"," json "}" AFTER  \
    }

/* A tool call of the assistant, with its result; `call` and `result` are more members of each. */
#define CALL(call)                                                                                 \
    "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\","            \
    "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}" call "}]}"
#define RESULT(content) "{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":" content "}"
#define CALLED(call, content)                                                                      \
    "\"messages\":[" USER "," CALL(call) "," RESULT(content) "],\"tools\":[" TOOL "]"

#define FUNCTION "{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{}}"
#define TOOL     "{\"type\":\"function\",\"function\":" FUNCTION "}}"
#define TOOLS    "\"tools\":[" TOOL "]"
#define SCHEMA(more)                                                                               \
    "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{" more                         \
    "\"schema\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}}}"

/* clang-format off */
const struct field_probe fields_of_openai_chat[] = {
    {"The request", "frequency_penalty", NULL, HI, HI ",\"frequency_penalty\":0.5"},
    MEMBER("presence_penalty", NULL, "\"presence_penalty\":0.5"),
    MEMBER("temperature", "0 to 1", "\"temperature\":0.5"),
    MEMBER("temperature", "above 1", "\"temperature\":1.5"),
    MEMBER("top_p", NULL, "\"top_p\":0.5"),
    MEMBER_BESIDE("top_p", "beside `temperature`", "\"temperature\":0.5", "\"top_p\":0.5"),
    MEMBER("top_k", NULL, "\"top_k\":40"),
    MEMBER("seed", NULL, "\"seed\":7"),
    MEMBER("max_completion_tokens", NULL, "\"max_completion_tokens\":100"),
    MEMBER("max_completion_tokens", "more than any model writes",
           "\"max_completion_tokens\":1000000"),
    MEMBER("max_tokens", NULL, "\"max_tokens\":100"),
    MEMBER("stop", "up to 5", "\"stop\":[\"END\",\"STOP\"]"),
    MEMBER("stop", "6 and more", "\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\"]"),
    MEMBER("n", "1", "\"n\":1"),
    MEMBER("n", "2 to 8", "\"n\":2"),
    MEMBER("stream", NULL, "\"stream\":true"),
    MEMBER_BESIDE("stream_options.include_usage", NULL, "\"stream\":true",
                  "\"stream_options\":{\"include_usage\":true}"),
    MEMBER_BESIDE("stream_options.include_obfuscation", NULL, "\"stream\":true",
                  "\"stream_options\":{\"include_obfuscation\":true}"),
    MEMBER("reasoning_effort", "none", "\"reasoning_effort\":\"none\""),
    MEMBER("reasoning_effort", "minimal", "\"reasoning_effort\":\"minimal\""),
    MEMBER("reasoning_effort", "low, medium, high", "\"reasoning_effort\":\"high\""),
    MEMBER("reasoning_effort", "xhigh", "\"reasoning_effort\":\"xhigh\""),
    MEMBER_BESIDE("reasoning_effort", "with a forced tool call",
                  TOOLS ",\"tool_choice\":\"required\"", "\"reasoning_effort\":\"high\""),
    MEMBER_BESIDE("temperature", "beside `reasoning_effort`", "\"reasoning_effort\":\"high\"",
                  "\"temperature\":0.5"),
    MEMBER("verbosity", NULL, "\"verbosity\":\"low\""),
    MEMBER("logprobs", NULL, "\"logprobs\":true"),
    MEMBER_BESIDE("top_logprobs", NULL, "\"logprobs\":true", "\"top_logprobs\":3"),
    MEMBER("logit_bias", NULL, "\"logit_bias\":{\"50256\":-100}"),
    MEMBER("user", NULL, "\"user\":\"u-1\""),
    MEMBER("safety_identifier", NULL, "\"safety_identifier\":\"u-1\""),
    MEMBER("service_tier", NULL, "\"service_tier\":\"flex\""),
    MEMBER("store", NULL, "\"store\":true"),
    MEMBER("metadata", NULL, "\"metadata\":{\"job\":\"7\"}"),
    MEMBER("prompt_cache_key", NULL, "\"prompt_cache_key\":\"k\""),
    MEMBER("prompt_cache_retention", NULL, "\"prompt_cache_retention\":\"24h\""),
    MEMBER("prediction", NULL, "\"prediction\":{\"type\":\"content\",\"content\":\"Hi\"}"),
    MEMBER("modalities", NULL, "\"modalities\":[\"text\",\"audio\"]"),
    MEMBER("audio", NULL, "\"audio\":{\"voice\":\"alloy\",\"format\":\"mp3\"}"),
    MEMBER("web_search_options", NULL, "\"web_search_options\":{\"search_context_size\":\"low\"}"),
    MEMBER("x_anything", "any field that is not listed", "\"x_anything\":1"),

    {"The form of the answer", "response_format", "text", HI,
     HI ",\"response_format\":{\"type\":\"text\"}"},
    MEMBER("response_format", "json_object", "\"response_format\":{\"type\":\"json_object\"}"),
    MEMBER("response_format", "json_schema", SCHEMA("")),
    {NULL, "response_format.json_schema.name", NULL, HI "," SCHEMA(""),
     HI "," SCHEMA("\"name\":\"a\",")},
    {NULL, "response_format.json_schema.description", NULL, HI "," SCHEMA(""),
     HI "," SCHEMA("\"description\":\"d\",")},
    {NULL, "response_format.json_schema.strict", NULL, HI "," SCHEMA(""),
     HI "," SCHEMA("\"strict\":true,")},

    {"Tools", "tools[]", "of type function", HI, HI "," TOOLS},
    {NULL, "tools[].function.strict", NULL, HI "," TOOLS,
     HI ",\"tools\":[{\"type\":\"function\",\"function\":" FUNCTION ",\"strict\":true}}]"},
    {NULL, "tools[].cache_control", NULL, HI "," TOOLS,
     HI ",\"tools\":[{\"type\":\"function\",\"function\":" FUNCTION
        "},\"cache_control\":{\"type\":\"ephemeral\"}}]"},
    MEMBER("tools[]", "of type custom, or run by a provider",
           "\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"f\"}}]"),
    MEMBER("functions[]", "the form of before", "\"functions\":[" FUNCTION "}]"),
    MEMBER_BESIDE("tool_choice", "auto", TOOLS, "\"tool_choice\":\"auto\""),
    MEMBER_BESIDE("tool_choice", "none", TOOLS, "\"tool_choice\":\"none\""),
    MEMBER_BESIDE("tool_choice", "required", TOOLS, "\"tool_choice\":\"required\""),
    MEMBER_BESIDE("tool_choice", "one function", TOOLS,
                  "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"),
    MEMBER_BESIDE("tool_choice", "allowed_tools", TOOLS,
                  "\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{"
                  "\"mode\":\"required\",\"tools\":[{\"type\":\"function\",\"function\":{"
                  "\"name\":\"f\"}}]}}"),
    MEMBER_BESIDE("tool_choice", "a custom tool", TOOLS,
                  "\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":\"f\"}}"),
    MEMBER("tool_choice", "required, without `tools`", "\"tool_choice\":\"required\""),
    MEMBER_BESIDE("function_call", "the form of before", TOOLS,
                  "\"function_call\":{\"name\":\"f\"}"),
    MEMBER_BESIDE("parallel_tool_calls", "false", TOOLS, "\"parallel_tool_calls\":false"),

    {"Messages", "messages[]", "role system or developer, before the user's first word", HI,
     "\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"}," USER "]"},
    {NULL, "messages[]", "role system or developer, later (it becomes the user's)", HI,
     "\"messages\":[" USER ",{\"role\":\"developer\",\"content\":\"Be brief.\"}]"},
    {NULL, "messages[]", "role assistant", HI,
     "\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"Yes?\"}" AFTER},
    {NULL, "messages[]", "role assistant, as the last one", HI,
     "\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"Yes\"}]"},
    {NULL, "messages[].name", NULL, HI,
     "\"messages\":[{\"role\":\"user\",\"name\":\"ann\",\"content\":\"Hi\"}]"},
    {NULL, "messages[].cache_control", NULL, HI,
     "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\","
     "\"cache_control\":{\"type\":\"ephemeral\"}}]"},
    SAID("refusal", NULL, "\"refusal\":\"No.\""),
    SAID("audio", "sound that the assistant said before", "\"audio\":{\"id\":\"audio_1\"}"),
    SAID("reasoning_content", "or `reasoning`", "\"reasoning_content\":\"Hm.\""),
    SAID("reasoning_details[]", "signed by Claude",
         "\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"Hm.\","
         "\"signature\":\"c2ln\",\"format\":\"anthropic-claude-v1\"}]"),
    SAID("reasoning_details[]", "signed by Gemini",
         "\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"c2ln\","
         "\"format\":\"google-gemini-v1\"}]"),
    SAID("reasoning_details[]", "signed by others",
         "\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"c2ln\","
         "\"format\":\"openai-responses-v1\"}]"),
    {NULL, "messages[].tool_calls[]", "with its result, a text", HI "," TOOLS,
     CALLED("", "\"1\"")},
    {NULL, "messages[].tool_calls[].extra_content.google.thought_signature", NULL,
     CALLED("", "\"1\""),
     CALLED(",\"extra_content\":{\"google\":{\"thought_signature\":\"c2ln\"}}", "\"1\"")},
    {NULL, "messages[].tool_calls[]", "without a result", HI "," TOOLS,
     "\"messages\":[" USER "," CALL("") "]," TOOLS},
    {NULL, "messages[].tool_calls[]", "of type custom", HI "," TOOLS,
     "\"messages\":[" USER ",{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"call_1\","
     "\"type\":\"custom\",\"custom\":{\"name\":\"f\",\"input\":\"x\"}}]}," RESULT("\"1\"") "],"
     TOOLS},
    {NULL, "messages[]", "role tool, with an image", CALLED("", "\"1\""),
     CALLED("", "[{\"type\":\"image_url\",\"image_url\":{\"url\":\"" PNG "\"}}]")},
    {NULL, "messages[]", "role tool, without its call", HI "," TOOLS,
     "\"messages\":[" USER "," RESULT("\"1\"") "]," TOOLS},
    {NULL, "messages[].function_call", "with its result, the form of before", HI "," TOOLS,
     "\"messages\":[" USER ",{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\","
     "\"arguments\":\"{}\"}},{\"role\":\"function\",\"name\":\"f\",\"content\":\"1\"}]," TOOLS},

    {"Parts of a message", "messages[].content[]", "text", HI,
     "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"},"
     "{\"type\":\"text\",\"text\":\"there\"}]}]"},
    PART("image_url, the image itself in it",
         "{\"type\":\"image_url\",\"image_url\":{\"url\":\"" PNG "\"}}"),
    PART("image_url, a web address",
         "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://example.com/a.png\"}}"),
    IN_PART("image_url.detail", "{\"type\":\"image_url\",\"image_url\":{\"url\":\"" PNG "\"}}",
            "{\"type\":\"image_url\",\"image_url\":{\"url\":\"" PNG "\",\"detail\":\"low\"}}"),
    PART("input_audio",
         "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"UklGRg==\",\"format\":\"wav\"}}"),
    PART("video_url",
         "{\"type\":\"video_url\",\"video_url\":{\"url\":\"data:video/mp4;base64,AAAAIGZ0\"}}"),
    PART("file, a PDF",
         "{\"type\":\"file\",\"file\":{\"file_data\":\"" PDF "\"}}"),
    PART("file, plain text",
         "{\"type\":\"file\",\"file\":{\"file_data\":\"data:text/plain;base64,SGk=\"}}"),
    PART("file, another kind",
         "{\"type\":\"file\",\"file\":{\"file_data\":\"data:application/zip;base64,UEsDBA==\"}}"),
    IN_PART("file.filename", "{\"type\":\"file\",\"file\":{\"file_data\":\"" PDF "\"}}",
            "{\"type\":\"file\",\"file\":{\"file_data\":\"" PDF "\",\"filename\":\"a.pdf\"}}"),
    PART("file by its `file_id`",
         "{\"type\":\"file\",\"file\":{\"file_id\":\"file-1\"}}"),
    PART("of a type that is not listed", "{\"type\":\"x_part\",\"x_part\":1}"),
    IN_PART("cache_control", "{\"type\":\"text\",\"text\":\"Hi\"}",
            "{\"type\":\"text\",\"text\":\"Hi\",\"cache_control\":{\"type\":\"ephemeral\"}}"),
    {0},
};
/* clang-format on */
