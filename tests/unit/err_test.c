#include "tests/unit/check.h"

#include "proxy/base/err.h"

static int read_port(struct err *e)
{
    return err_set(e, ERR_VALUE, "port: \"%s\" is not between 1 and %d", "0", 65535);
}

static int read_file(struct err *e)
{
    if (read_port(e) < 0)
        return err_prefix(e, "%s: line %d", "config.yaml", 12);
    return 0;
}

TEST(context_is_put_before_and_the_code_stays)
{
    struct err e = {0};

    CHECK_INT(read_file(&e), -1);
    CHECK_INT(e.code, ERR_VALUE);
    CHECK_STR(e.msg, "config.yaml: line 12: port: \"0\" is not between 1 and 65535");
}

TEST(a_message_that_is_too_long_is_cut_not_overrun)
{
    struct {
        struct err e;
        char guard[8];
    } s = {.guard = "guarded"};
    char text[1000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CHECK_INT(err_set(&s.e, ERR_IO, "%s", text), -1);
    CHECK_INT(strlen(s.e.msg), sizeof(s.e.msg) - 1);
    err_prefix(&s.e, "file");
    CHECK_INT(strlen(s.e.msg), sizeof(s.e.msg) - 1);
    CHECK(strncmp(s.e.msg, "file: xxx", 9) == 0);
    err_prefix(&s.e, "%s", text);
    CHECK_INT(strlen(s.e.msg), sizeof(s.e.msg) - 1);
    CHECK_STR(s.guard, "guarded");
}

TEST_MAIN()
