#include "proxy/budget.h"

#include <assert.h>

#define TOKEN_MS 10000.0 /* one comes in by itself */

void budget_init(struct budget *b, double ratio, double capacity)
{
    *b = (struct budget){.ratio = ratio, .capacity = capacity, .tokens = capacity};
}

double budget_tokens(const struct budget *b, uint64_t now_ms)
{
    double tokens = b->tokens;

    if (b->at_ms != 0 && now_ms > b->at_ms)
        tokens += (double)(now_ms - b->at_ms) / TOKEN_MS;
    return tokens < b->capacity ? tokens : b->capacity;
}

static void settle(struct budget *b, double change, uint64_t now_ms)
{
    b->tokens = budget_tokens(b, now_ms) + change;
    b->at_ms = now_ms;
}

void budget_earn(struct budget *b, uint64_t now_ms)
{
    settle(b, b->ratio, now_ms);
}

void budget_spend(struct budget *b, double cost, uint64_t now_ms)
{
    assert(budget_tokens(b, now_ms) >= cost);
    settle(b, -cost, now_ms);
}
