/* The tests of json_test.c once more, with the code for processors without SSE2: the two sources
 * are compiled in here and take the place of those in the library. */
#define JSON_PORTABLE

#include "proxy/base/json.c"
#include "proxy/base/json_text.c"

#if USE_SSE2
#error "this should test the portable code"
#endif

#include "tests/unit/json_test.c"
