/* fields_probes_completions.c: one small request for each field of OpenAI's completions. */
#include "providers/fields.h"

#define HI "\"prompt\":\"Hi\""

#define MEMBER(field, form, json)                                                                  \
    {                                                                                              \
        NULL, field, form, HI, HI "," json                                                         \
    }

/* clang-format off */
const struct field_probe fields_of_openai_completions[] = {
    {"The request", "prompt", "a text", HI, "\"prompt\":\"Hello\""},
    {NULL, "prompt", "a list of one text", HI, "\"prompt\":[\"Hello\"]"},
    {NULL, "prompt", "several texts", HI, "\"prompt\":[\"Hi\",\"Hello\"]"},
    {NULL, "prompt", "tokens", HI, "\"prompt\":[17250]"},
    MEMBER("suffix", NULL, "\"suffix\":\"Bye\""),
    MEMBER("echo", NULL, "\"echo\":true"),
    MEMBER("best_of", "2 and more", "\"best_of\":2"),
    MEMBER("logprobs", NULL, "\"logprobs\":1"),
    MEMBER("logit_bias", NULL, "\"logit_bias\":{\"1\":-100}"),
    MEMBER("max_tokens", NULL, "\"max_tokens\":100"),
    MEMBER("temperature", "0 to 1", "\"temperature\":0.5"),
    MEMBER("top_p", NULL, "\"top_p\":0.5"),
    MEMBER("presence_penalty", NULL, "\"presence_penalty\":0.5"),
    MEMBER("frequency_penalty", NULL, "\"frequency_penalty\":0.5"),
    MEMBER("seed", NULL, "\"seed\":7"),
    MEMBER("stop", "up to 5", "\"stop\":[\"END\",\"STOP\"]"),
    MEMBER("n", "1", "\"n\":1"),
    MEMBER("n", "2 to 8", "\"n\":2"),
    MEMBER("stream", NULL, "\"stream\":true"),
    {NULL, "stream_options.include_usage", NULL, HI ",\"stream\":true",
     HI ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"},
    MEMBER("user", NULL, "\"user\":\"u-1\""),
    {0},
};
/* clang-format on */
