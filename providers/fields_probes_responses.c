/* fields_probes_responses.c: one small request for each field, item and tool of OpenAI's responses.
 */
#include "providers/fields.h"

#define PNG  "data:image/png;base64,iVBORw0KGgo="
#define PDF  "data:application/pdf;base64,JVBERi0xLjQK"
#define USER "{\"role\":\"user\",\"content\":\"Hi\"}"
#define HI   "\"input\":[" USER "]"

/* A member of the request, beside its input. */
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
        NULL, "input[].content[]", form, HI,                                                       \
            "\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"Hi\"}" \
            "," json "]}]"                                                                         \
    }
#define IN_PART(field, part, same)                                                                 \
    {                                                                                              \
        NULL, "input[].content[]." field, NULL,                                                    \
            "\"input\":[{\"role\":\"user\",\"content\":[" part "]}]",                              \
            "\"input\":[{\"role\":\"user\",\"content\":[" same "]}]"                               \
    }

/* An item between two turns of the user. */
#define ITEM(form, json)                                                                           \
    {                                                                                              \
        NULL, "input[]", form, "\"input\":[" USER "," USER "]",                                    \
            "\"input\":[" USER "," json "," USER "]"                                               \
    }

#define SAID                                                                                       \
    "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","         \
    "\"text\":\"Yes?\"}]"
#define CALL(more)                                                                                 \
    "{\"type\":\"function_call\",\"call_id\":\"call_1\",\"name\":\"f\",\"arguments\":\"{}\"" more  \
    "}"
#define RESULT(output)                                                                             \
    "{\"type\":\"function_call_output\",\"call_id\":\"call_1\",\"output\":" output "}"
#define CALLED(before, output) "\"input\":[" USER "," before CALL("") "," RESULT(output) "]," TOOLS
#define TOOL                                                                                       \
    "{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"type\":\"object\","                   \
    "\"properties\":{}}"
#define TOOLS "\"tools\":[" TOOL "}]"
#define SCHEMA(more)                                                                               \
    "\"text\":{\"format\":{\"type\":\"json_schema\"," more                                         \
    "\"schema\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}}}"

/* clang-format off */
const struct field_probe fields_of_openai_responses[] = {
    {"The request", "input", "a text", "\"input\":\"Hi\"", "\"input\":\"Hello\""},
    MEMBER("instructions", NULL, "\"instructions\":\"Be brief.\""),
    MEMBER("stream", NULL, "\"stream\":true"),
    MEMBER_BESIDE("stream_options.include_obfuscation", NULL, "\"stream\":true",
                  "\"stream_options\":{\"include_obfuscation\":true}"),
    MEMBER("max_output_tokens", NULL, "\"max_output_tokens\":100"),
    MEMBER("temperature", NULL, "\"temperature\":0.5"),
    MEMBER("top_p", NULL, "\"top_p\":0.5"),
    MEMBER("top_logprobs", NULL, "\"top_logprobs\":3"),
    MEMBER("include[]", "log probabilities", "\"include\":[\"message.output_text.logprobs\"]"),
    MEMBER("include", "encrypted reasoning", "\"include\":[\"reasoning.encrypted_content\"]"),
    MEMBER("include[]", "what the provider's tools found",
           "\"include\":[\"web_search_call.action.sources\"]"),
    MEMBER("reasoning.effort", NULL, "\"reasoning\":{\"effort\":\"low\"}"),
    MEMBER_BESIDE("reasoning.effort", "`none`", "\"user\":\"u\"", "\"reasoning\":{\"effort\":\"none\"}"),
    MEMBER("reasoning.summary", NULL, "\"reasoning\":{\"summary\":\"auto\"}"),
    MEMBER("text.verbosity", NULL, "\"text\":{\"verbosity\":\"low\"}"),
    MEMBER("text.format", "`text`", "\"text\":{\"format\":{\"type\":\"text\"}}"),
    MEMBER("text.format", "`json_object`", "\"text\":{\"format\":{\"type\":\"json_object\"}}"),
    MEMBER("text.format", "`json_schema`", SCHEMA("\"name\":\"n\",")),
    {NULL, "text.format.description", NULL, HI "," SCHEMA("\"name\":\"n\","),
     HI "," SCHEMA("\"name\":\"n\",\"description\":\"d\",")},
    {NULL, "text.format.strict", NULL, HI "," SCHEMA("\"name\":\"n\","),
     HI "," SCHEMA("\"name\":\"n\",\"strict\":true,")},
    MEMBER("user", NULL, "\"user\":\"u\""),
    MEMBER("safety_identifier", NULL, "\"safety_identifier\":\"u\""),
    MEMBER("service_tier", NULL, "\"service_tier\":\"flex\""),
    MEMBER("prompt_cache_key", NULL, "\"prompt_cache_key\":\"k\""),
    MEMBER("metadata", NULL, "\"metadata\":{\"a\":\"b\"}"),
    MEMBER("truncation", NULL, "\"truncation\":\"auto\""),

    {"What OpenAI keeps", "store", "`true`", HI, HI ",\"store\":true"},
    MEMBER("store", "`false`", "\"store\":false"),
    MEMBER("previous_response_id", NULL, "\"previous_response_id\":\"resp_1\""),
    MEMBER("conversation", NULL, "\"conversation\":\"conv_1\""),
    MEMBER("prompt", NULL, "\"prompt\":{\"id\":\"pmpt_1\"}"),
    MEMBER("background", NULL, "\"background\":true"),
    ITEM("`item_reference`", "{\"type\":\"item_reference\",\"id\":\"msg_1\"}"),
    ITEM("`compaction`", "{\"type\":\"compaction\",\"encrypted_content\":\"x\"}"),

    {"The input", "input[]", "`system` message", HI,
     "\"input\":[{\"role\":\"system\",\"content\":\"Be brief.\"}," USER "]"},
    {NULL, "input[]", "`developer` message", HI,
     "\"input\":[{\"role\":\"developer\",\"content\":\"Be brief.\"}," USER "]"},
    ITEM("`assistant` message", SAID "}"),
    {NULL, "input[].phase", NULL, "\"input\":[" USER "," SAID "}," USER "]",
     "\"input\":[" USER "," SAID ",\"phase\":\"final_answer\"}," USER "]"},
    {NULL, "input[].content[]", "`refusal` of the assistant",
     "\"input\":[" USER "," SAID "}," USER "]",
     "\"input\":[" USER ",{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"No.\"}]}," USER "]"},
    PART("`input_text`", "{\"type\":\"input_text\",\"text\":\"there\"}"),
    PART("`input_image`, data", "{\"type\":\"input_image\",\"image_url\":\"" PNG "\"}"),
    PART("`input_image`, URL", "{\"type\":\"input_image\",\"image_url\":\"https://a.example/a.png\"}"),
    PART("`input_image`, `file_id`", "{\"type\":\"input_image\",\"file_id\":\"file-1\"}"),
    IN_PART("detail", "{\"type\":\"input_image\",\"image_url\":\"" PNG "\"}",
            "{\"type\":\"input_image\",\"image_url\":\"" PNG "\",\"detail\":\"low\"}"),
    PART("`input_file`, PDF", "{\"type\":\"input_file\",\"file_data\":\"" PDF "\"}"),
    IN_PART("filename", "{\"type\":\"input_file\",\"file_data\":\"" PDF "\"}",
            "{\"type\":\"input_file\",\"file_data\":\"" PDF "\",\"filename\":\"a.pdf\"}"),
    PART("`input_file`, URL", "{\"type\":\"input_file\",\"file_url\":\"https://a.example/a.pdf\"}"),
    PART("`input_file`, `file_id`", "{\"type\":\"input_file\",\"file_id\":\"file-1\"}"),
    PART("`input_audio`", "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"UklGRg==\",\"format\":\"wav\"}}"),
    PART("of another type", "{\"type\":\"input_hologram\",\"x\":1}"),

    {"Tools", "tools[]", "`function`", HI, HI "," TOOLS},
    {NULL, "tools[].description", NULL, HI "," TOOLS,
     HI ",\"tools\":[" TOOL ",\"description\":\"d\"}]"},
    {NULL, "tools[].strict", NULL, HI "," TOOLS, HI ",\"tools\":[" TOOL ",\"strict\":true}]"},
    {NULL, "tools[]", "`custom`: a function with one text", HI,
     HI ",\"tools\":[{\"type\":\"custom\",\"name\":\"c\"}]"},
    {NULL, "tools[].format", "a grammar: told in the description",
     HI ",\"tools\":[{\"type\":\"custom\",\"name\":\"c\"}]",
     HI ",\"tools\":[{\"type\":\"custom\",\"name\":\"c\",\"format\":{\"type\":\"grammar\","
     "\"syntax\":\"lark\",\"definition\":\"start: \\\"x\\\"\"}}]"},
    {NULL, "tools[]", "`namespace`: functions with joined names", HI,
     HI ",\"tools\":[{\"type\":\"namespace\",\"name\":\"n\",\"tools\":[" TOOL "}]}]"},
    {NULL, "input[]", "`additional_tools`: the same as in `tools`", HI,
     "\"input\":[{\"type\":\"additional_tools\",\"role\":\"developer\",\"tools\":[" TOOL "}]}," USER
     "]"},
    {NULL, "tools[]", "`web_search` and other tools of the provider, beside functions",
     HI "," TOOLS, HI ",\"tools\":[" TOOL "},{\"type\":\"web_search\"}]"},
    {NULL, "tools[]", "`local_shell`, `apply_patch` and others that only OpenAI's models know",
     HI "," TOOLS, HI ",\"tools\":[" TOOL "},{\"type\":\"local_shell\"}]"},
    MEMBER_BESIDE("tool_choice", "`required`", TOOLS, "\"tool_choice\":\"required\""),
    MEMBER_BESIDE("tool_choice", "`none`", TOOLS, "\"tool_choice\":\"none\""),
    MEMBER_BESIDE("tool_choice", "`function`", TOOLS,
                  "\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"}"),
    MEMBER_BESIDE("tool_choice", "`allowed_tools`", TOOLS,
                  "\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"required\","
                  "\"tools\":[{\"type\":\"function\",\"name\":\"f\"}]}"),
    MEMBER_BESIDE("parallel_tool_calls", "`false`", TOOLS, "\"parallel_tool_calls\":false"),
    {NULL, "input[]", "`function_call` and its output", HI "," TOOLS, CALLED("", "\"x\"")},
    {NULL, "input[]", "an output with a picture", CALLED("", "\"x\""),
     CALLED("", "[{\"type\":\"input_text\",\"text\":\"x\"},"
                "{\"type\":\"input_image\",\"image_url\":\"" PNG "\"}]")},
    {NULL, "input[]", "`custom_tool_call` and its output", HI,
     "\"input\":[" USER ",{\"type\":\"custom_tool_call\",\"call_id\":\"call_1\",\"name\":\"c\","
     "\"input\":\"x\"},{\"type\":\"custom_tool_call_output\",\"call_id\":\"call_1\","
     "\"output\":\"y\"}],\"tools\":[{\"type\":\"custom\",\"name\":\"c\"}]"},
    ITEM("`web_search_call` and other traces of the provider's tools",
         "{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\"}"),

    {"Reasoning", "input[]", "`reasoning`, text alone", CALLED("", "\"x\""),
     CALLED("{\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"Hm.\"}]},",
            "\"x\"")},
    {NULL, "input[]", "`reasoning`, OpenAI's state", CALLED("", "\"x\""),
     CALLED("{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"gAAAAA\"},", "\"x\"")},
    {NULL, "input[]", "`reasoning`, Claude's state", CALLED("", "\"x\""),
     CALLED("{\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"Hm.\"}],"
            "\"encrypted_content\":\"holdfast.anthropic_messages.signed.c2ln\"},", "\"x\"")},
    {NULL, "input[]", "`reasoning`, Gemini's state", CALLED("", "\"x\""),
     CALLED("{\"type\":\"reasoning\",\"summary\":[],"
            "\"encrypted_content\":\"holdfast.gemini.signed.c2ln\"},", "\"x\"")},
    {0},
};
