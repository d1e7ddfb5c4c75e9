/* fields_probes_gemini.c: one small request for each field and part of Gemini's generateContent. */
#include "providers/fields.h"

#define USER "{\"role\":\"user\",\"parts\":[{\"text\":\"Hi\"}]}"
#define HI   "\"contents\":[" USER "]"
#define MORE "{\"role\":\"user\",\"parts\":[{\"text\":\"Go on.\"}]}"
#define TOOLS                                                                                      \
    "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"parametersJsonSchema\":{"             \
    "\"type\":\"object\",\"properties\":{}}}]}]"
#define SCHEMA "{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"type\":\"STRING\"}}}"

/* A member of the request, beside one content. */
#define MEMBER(field, form, json)                                                                  \
    {                                                                                              \
        NULL, field, form, HI, HI "," json                                                         \
    }
#define MEMBER_BESIDE(field, form, b, json)                                                        \
    {                                                                                              \
        NULL, field, form, HI "," b, HI "," b "," json                                             \
    }

/* A member of generationConfig. */
#define CONFIG(name, form, json)                                                                   \
    {                                                                                              \
        NULL, "generationConfig." name, form, HI, HI ",\"generationConfig\":{" json "}"            \
    }
#define CONFIG_BESIDE(name, form, b, json)                                                         \
    {                                                                                              \
        NULL, "generationConfig." name, form, HI ",\"generationConfig\":{" b "}",                  \
            HI ",\"generationConfig\":{" b "," json "}"                                            \
    }

/* How functions are called. */
#define CALLING(form, json)                                                                        \
    {                                                                                              \
        NULL, "toolConfig.functionCallingConfig", form, HI "," TOOLS,                              \
            HI "," TOOLS ",\"toolConfig\":{\"functionCallingConfig\":{" json "}}"                  \
    }

/* A part of what the user says, beside a text. */
#define PART(field, form, json)                                                                    \
    {                                                                                              \
        NULL, "contents[].parts[]" field, form, HI,                                                \
            "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi\"}," json "]}]"            \
    }
#define IN_PART(field, part, same)                                                                 \
    {                                                                                              \
        NULL, "contents[].parts[]." field, NULL,                                                   \
            "\"contents\":[{\"role\":\"user\",\"parts\":[" part "]}]",                             \
            "\"contents\":[{\"role\":\"user\",\"parts\":[" same "]}]"                              \
    }

/* A part of what the model said, beside a text. */
#define SAID(field, form, json)                                                                    \
    {                                                                                              \
        NULL, "contents[].parts[]" field, form,                                                    \
            "\"contents\":[" USER ",{\"role\":\"model\",\"parts\":[{\"text\":\"Yes?\"}]}," MORE    \
            "]",                                                                                   \
            "\"contents\":[" USER ",{\"role\":\"model\",\"parts\":[" json ",{\"text\":\"Yes?\"}]}" \
            "," MORE "]"                                                                           \
    }

/* A call with its result; `call` and `result` are more members of each. */
#define CALLED(call, result)                                                                       \
    "\"contents\":[" USER ",{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"name\":\"f\","     \
    "\"args\":{}}" call "}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{"                \
    "\"name\":\"f\",\"response\":{\"output\":\"1\"}" result "}}]}]," TOOLS

#define PNG "\"mimeType\":\"image/png\",\"data\":\"iVBORw0KGgo=\""
#define PDF "\"mimeType\":\"application/pdf\",\"data\":\"JVBERi0xLjQK\""

/* clang-format off */
const struct field_probe fields_of_gemini[] = {
    {"The request", "systemInstruction", NULL, HI,
     HI ",\"systemInstruction\":{\"parts\":[{\"text\":\"Be brief.\"}]}"},
    MEMBER("safetySettings", NULL,
           "\"safetySettings\":[{\"category\":\"HARM_CATEGORY_HARASSMENT\","
           "\"threshold\":\"BLOCK_NONE\"}]"),
    MEMBER("cachedContent", NULL, "\"cachedContent\":\"cachedContents/1\""),
    MEMBER("xAnything", "any field that is not listed", "\"xAnything\":1"),

    {"generationConfig", "generationConfig.temperature", "0 to 1", HI,
     HI ",\"generationConfig\":{\"temperature\":0.5}"},
    CONFIG("temperature", "above 1", "\"temperature\":1.5"),
    CONFIG("topP", NULL, "\"topP\":0.5"),
    CONFIG_BESIDE("topP", "beside `temperature`", "\"temperature\":0.5", "\"topP\":0.5"),
    CONFIG("topK", NULL, "\"topK\":40"),
    CONFIG("maxOutputTokens", NULL, "\"maxOutputTokens\":100"),
    CONFIG("stopSequences", NULL, "\"stopSequences\":[\"END\"]"),
    CONFIG("candidateCount", NULL, "\"candidateCount\":2"),
    CONFIG("seed", NULL, "\"seed\":7"),
    CONFIG("presencePenalty", NULL, "\"presencePenalty\":0.5"),
    CONFIG("frequencyPenalty", NULL, "\"frequencyPenalty\":0.5"),
    CONFIG("responseMimeType", "text/plain", "\"responseMimeType\":\"text/plain\""),
    CONFIG("responseMimeType", "application/json", "\"responseMimeType\":\"application/json\""),
    CONFIG("responseMimeType", "text/x.enum", "\"responseMimeType\":\"text/x.enum\""),
    CONFIG_BESIDE("responseSchema", NULL, "\"responseMimeType\":\"application/json\"",
                  "\"responseSchema\":" SCHEMA),
    CONFIG_BESIDE("responseJsonSchema", NULL, "\"responseMimeType\":\"application/json\"",
                  "\"responseJsonSchema\":{\"type\":\"object\",\"properties\":{}}"),
    CONFIG("thinkingConfig.thinkingBudget", "0", "\"thinkingConfig\":{\"thinkingBudget\":0}"),
    CONFIG("thinkingConfig.thinkingBudget", "512, 1024, 8192, 24576",
           "\"thinkingConfig\":{\"thinkingBudget\":1024}"),
    CONFIG("thinkingConfig.thinkingBudget", "another number",
           "\"thinkingConfig\":{\"thinkingBudget\":2000}"),
    CONFIG("thinkingConfig.thinkingBudget", "-1", "\"thinkingConfig\":{\"thinkingBudget\":-1}"),
    CONFIG("thinkingConfig.thinkingLevel", "MINIMAL",
           "\"thinkingConfig\":{\"thinkingLevel\":\"MINIMAL\"}"),
    CONFIG("thinkingConfig.thinkingLevel", "LOW, MEDIUM, HIGH",
           "\"thinkingConfig\":{\"thinkingLevel\":\"HIGH\"}"),
    CONFIG("thinkingConfig.includeThoughts", "without a budget or a level",
           "\"thinkingConfig\":{\"includeThoughts\":true}"),
    CONFIG("responseModalities", "TEXT", "\"responseModalities\":[\"TEXT\"]"),
    CONFIG("responseModalities", "others", "\"responseModalities\":[\"TEXT\",\"IMAGE\"]"),
    CONFIG("responseLogprobs", NULL, "\"responseLogprobs\":true"),
    CONFIG("speechConfig", NULL, "\"speechConfig\":{\"languageCode\":\"de\"}"),
    CONFIG("xAnything", "any field that is not listed", "\"xAnything\":1"),

    {"Tools", "tools[].functionDeclarations[]", "with `parametersJsonSchema`", HI, HI "," TOOLS},
    MEMBER("tools[].functionDeclarations[]", "with `parameters`",
           "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"parameters\":" SCHEMA "}]}]"),
    {NULL, "tools[].functionDeclarations[].response", NULL, HI "," TOOLS,
     HI ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"parametersJsonSchema\":{"
     "\"type\":\"object\",\"properties\":{}},\"response\":" SCHEMA "}]}]"},
    MEMBER("tools[].googleSearch", "and all else that Google runs",
           "\"tools\":[{\"googleSearch\":{}}]"),
    CALLING("AUTO", "\"mode\":\"AUTO\""),
    CALLING("NONE", "\"mode\":\"NONE\""),
    CALLING("ANY", "\"mode\":\"ANY\""),
    CALLING("ANY, with one name", "\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\"]"),
    {NULL, "toolConfig.functionCallingConfig.mode", "VALIDATED", HI "," TOOLS,
     HI "," TOOLS ",\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"VALIDATED\"}}"},
    MEMBER("toolConfig.functionCallingConfig", "ANY, without functions",
           "\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\"}}"),
    MEMBER_BESIDE("toolConfig.retrievalConfig", NULL, TOOLS,
                  "\"toolConfig\":{\"retrievalConfig\":{\"languageCode\":\"de\"}}"),

    {"Contents", "contents[]", "role model", HI,
     "\"contents\":[" USER ",{\"role\":\"model\",\"parts\":[{\"text\":\"Yes?\"}]}," MORE "]"},
    {NULL, "contents[]", "role model, as the last one", HI,
     "\"contents\":[" USER ",{\"role\":\"model\",\"parts\":[{\"text\":\"Yes\"}]}]"},
    SAID("", "thought, unsigned", "{\"text\":\"Hm.\",\"thought\":true}"),
    SAID(".thoughtSignature", "of Gemini's, on a text",
         "{\"text\":\"\",\"thoughtSignature\":\"c2ln\"}"),
    {NULL, "contents[].parts[].thoughtSignature", "of Gemini's, on a call", CALLED("", ""),
     CALLED(",\"thoughtSignature\":\"c2ln\"", "")},
    {NULL, "contents[].parts[].functionCall", "with its result", HI "," TOOLS, CALLED("", "")},
    {NULL, "contents[].parts[].functionResponse.parts[]", "an image", CALLED("", ""),
     CALLED("", ",\"parts\":[{\"inlineData\":{" PNG "}}]")},
    {NULL, "contents[].parts[].functionResponse.scheduling", NULL, CALLED("", ""),
     CALLED("", ",\"scheduling\":\"SILENT\"")},
    SAID("", "executableCode, codeExecutionResult",
         "{\"executableCode\":{\"language\":\"PYTHON\",\"code\":\"1\"}}"),
    PART("", "inlineData, an image", "{\"inlineData\":{" PNG "}}"),
    PART("", "inlineData, a PDF", "{\"inlineData\":{" PDF "}}"),
    PART("", "inlineData, sound", "{\"inlineData\":{\"mimeType\":\"audio/wav\","
         "\"data\":\"UklGRg==\"}}"),
    PART("", "inlineData, a video", "{\"inlineData\":{\"mimeType\":\"video/mp4\","
         "\"data\":\"AAAAIGZ0\"}}"),
    PART("", "fileData, a web address of an image",
         "{\"fileData\":{\"mimeType\":\"image/png\",\"fileUri\":\"https://example.com/a.png\"}}"),
    PART("", "fileData, a file at Google",
         "{\"fileData\":{\"mimeType\":\"image/png\",\"fileUri\":\"gs://b/a.png\"}}"),
    IN_PART("inlineData.displayName", "{\"inlineData\":{" PDF "}}",
            "{\"inlineData\":{" PDF ",\"displayName\":\"a.pdf\"}}"),
    IN_PART("videoMetadata", "{\"text\":\"Hi\"}",
            "{\"text\":\"Hi\",\"videoMetadata\":{\"fps\":1}}"),
    {0},
};
/* clang-format on */
