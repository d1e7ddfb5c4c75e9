/* Any bytes as a configuration file: it is read or refused, and what was read keeps its promises
 * and can be printed. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"
#include "tests/unit/fake_types.h"

static void check(const struct config *c)
{
    assert(c->n_providers > 0 && c->n_routes > 0 && c->n_listens > 0);
    assert(c->timeouts.connect > 0 && c->timeouts.answer > 0 && c->timeouts.total > 0);
    for (size_t i = 0; i < c->n_providers; i++) {
        const struct config_provider *p = &c->providers[i];

        assert((p->base_url == NULL) == (p->text != NULL));
        for (size_t k = 0; k < p->n_keys; k++)
            for (const char *at = p->keys[k]; *at != '\0'; at++)
                assert(*at > 0x20 && *at < 0x7f);
    }
    for (size_t i = 0; i < c->n_routes; i++) {
        const struct config_route *route = &c->routes[i];

        assert(route->n_targets > 0 && route->n_targets <= CONFIG_MAX_TARGETS);
        for (size_t j = 0; j < route->n_targets; j++) {
            assert(route->targets[j].provider < c->n_providers);
            assert(config_timeouts_of(c, route, &route->targets[j]).first_token > 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *c;
    struct err e = {0};
    static FILE *sink;

    if (sink == NULL)
        sink = fopen("/dev/null", "w");
    if (sink == NULL)
        abort();
    if (config_parse("fuzz", (const char *)data, size, &fake_types, &c, &e) < 0) {
        assert(e.code != ERR_NONE && e.msg[0] != '\0');
        return 0;
    }
    check(c);
    config_print(c, sink);
    config_free(c);
    return 0;
}
