#include "tests/unit/check.h"

#include <sys/wait.h>
#include <unistd.h>

#include "proxy/ops/successor.h"

static char program[] = "/bin/sh", option[] = "-c";

/* Starts the shell's command in place of ourselves at the time 1000. */
static struct successor start(char *command)
{
    static char *argv[4] = {program, option};
    struct successor s = {.program = program, .argv = argv};
    struct listeners none = {0};
    struct err e = {0};

    argv[2] = command;
    CHECK_INT(successor_start(&s, &none, 1000, &e), 0);
    return s;
}

/* Until it has ended, which takes it a moment. */
static void wait_for_end(struct successor *s, struct err *e)
{
    while (successor_look(s, 1000, e) == SUCCESSOR_NONE)
        usleep(1000);
    CHECK_INT(s->pid, 0);
}

TEST(one_that_ends_is_told_with_how)
{
    static char ends[] = "exit 78", dies[] = "kill -9 $$";
    struct successor s = start(ends);
    struct err e = {0};

    wait_for_end(&s, &e);
    CHECK(strstr(e.msg, "ended with exit code 78") != NULL);
    s = start(dies);
    wait_for_end(&s, &e);
    CHECK(strstr(e.msg, "was ended by signal 9") != NULL);
    CHECK_INT(successor_look(&s, 1000, &e), SUCCESSOR_NONE);
}

TEST(one_that_does_not_serve_in_time_is_ended)
{
    static char waits[] = "exec sleep 600";
    struct successor s = start(waits);
    pid_t pid = s.pid;
    struct err e = {0};

    CHECK_INT(successor_look(&s, 30999, &e), SUCCESSOR_NONE);
    CHECK_INT(successor_look(&s, 31000, &e), SUCCESSOR_ENDED);
    CHECK(strstr(e.msg, "did not serve within 30 s") != NULL);
    CHECK_INT(s.pid, 0);
    CHECK_INT(kill(pid, 0), -1);
}

TEST(it_serves_when_it_says_so_and_lives)
{
    /* Without sockets the pipe is the first that is passed. */
    static char says[] = "echo >&3; exec sleep 600", says_and_dies[] = "echo >&3";
    struct successor s = start(says);
    enum successor_news news;
    struct err e = {0};

    while ((news = successor_look(&s, 1000, &e)) == SUCCESSOR_NONE)
        usleep(1000);
    CHECK_INT(news, SUCCESSOR_SERVES);
    CHECK(s.pid != 0);
    successor_abandon(&s);
    CHECK_INT(s.pid, 0);
    s = start(says_and_dies);
    CHECK_INT(waitid(P_PID, (id_t)s.pid, NULL, WEXITED | WNOWAIT), 0);
    CHECK_INT(successor_look(&s, 1000, &e), SUCCESSOR_ENDED);
}

TEST(its_own_signals_are_told_from_others)
{
    static char waits[] = "exec sleep 600";
    struct successor none = {0}, s = start(waits);
    siginfo_t its = {.si_signo = SIGUSR2}, users = its;

    its.si_pid = s.pid;
    users.si_pid = getpid();
    CHECK(successor_sent(&s, &its) && !successor_sent(&s, &users));
    its.si_pid = 0;
    CHECK(!successor_sent(&none, &its));
    successor_abandon(&s);
}

TEST(what_cannot_be_started_is_an_error)
{
    static char nowhere[] = "/nonexistent/holdfast";
    struct successor s = {.program = nowhere, .argv = (char *[]){nowhere, NULL}};
    struct listeners none = {0};
    struct err e = {0};

    CHECK_INT(successor_start(&s, &none, 0, &e), -1);
    CHECK(strstr(e.msg, "/nonexistent/holdfast cannot be started: No such file") != NULL);
    CHECK_INT(s.pid, 0);
}

TEST_MAIN()
