#include "providers/sse_list.h"

#include "tests/unit/check.h"

static char mem[1000];

static void check_list(const char *const *pieces, bool ended, const char *want)
{
    struct strbuf out = strbuf_on(mem, sizeof(mem));
    struct sse_list l = {0};

    for (; *pieces != NULL; pieces++)
        sse_list_add(&l, span_of(*pieces), &out);
    if (ended)
        sse_list_end(&l, &out);
    CHECK_SPAN(strbuf_span(&out), want);
}

TEST(each_event_is_an_element)
{
    check_list((const char *const[]){"data: {\"a\":1}\n\ndata: {}\r\n\r\n", "data:3\n\n", NULL},
               true, "[{\"a\":1},\r\n{},\r\n3]\n");
}

TEST(what_holds_no_data_is_no_element)
{
    check_list((const char *const[]){": x\n\n", "\n\n", "event: y\n\n", "data: \n\n", "data: 1\n\n",
                                     "", NULL},
               true, "[1]\n");
    check_list((const char *const[]){NULL}, true, "[]\n");
}

TEST(an_event_without_its_empty_line_counts)
{
    check_list((const char *const[]){"data: 1\n\n", "data: 2", "\n\n", NULL}, true, "[1,\r\n2]\n");
}

TEST(a_broken_answer_is_no_whole_list)
{
    check_list((const char *const[]){"data: 1\n\n", NULL}, false, "[1");
}

TEST_MAIN()
