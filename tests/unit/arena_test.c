#include "tests/unit/check.h"

#include "proxy/base/arena.h"

TEST(allocations_are_aligned_and_do_not_overlap)
{
    unsigned char *got[300];
    struct arena a;

    arena_init(&a);
    for (size_t i = 0; i < ARRAY_LEN(got); i++) {
        got[i] = arena_alloc(&a, i + 1);
        CHECK((uintptr_t)got[i] % 16 == 0);
        memset(got[i], (int)(i % 251), i + 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(got); i++)
        CHECK(got[i][0] == i % 251 && got[i][i] == i % 251);
    arena_release(&a);
}

TEST(an_unused_arena_takes_no_memory)
{
    struct arena a;

    arena_init(&a);
    CHECK_INT(a.total, 0);
    arena_reset(&a);
    arena_release(&a);
    CHECK_INT(a.total, 0);
}

TEST(a_reset_keeps_one_small_block_and_uses_it_again)
{
    struct arena a;
    char *first;
    size_t small;

    arena_init(&a);
    first = arena_alloc(&a, 100);
    small = a.total;
    for (int i = 0; i < 100; i++)
        arena_alloc(&a, 1000);
    arena_alloc(&a, 1 << 20);
    CHECK(a.total > (1 << 20) + 100000);
    arena_reset(&a);
    CHECK_INT(a.total, small);
    CHECK(arena_alloc(&a, 100) == first);
    CHECK_INT(a.total, small);
    arena_release(&a);
    CHECK_INT(a.total, 0);
}

TEST(a_large_piece_leaves_the_room_of_the_block_before_it)
{
    struct arena a;
    char *small, *large, *next;
    size_t total;

    arena_init(&a);
    small = arena_alloc(&a, 96);
    large = arena_alloc(&a, 10000);
    memset(large, 1, 10000);
    total = a.total;
    next = arena_alloc(&a, 1000);
    memset(next, 2, 1000);
    CHECK(next == small + 96);
    CHECK_INT(a.total, total);
    arena_alloc(&a, 4000); /* the next block, behind which both are still known */
    CHECK(large[0] == 1 && large[9999] == 1);
    arena_reset(&a);
    CHECK(arena_alloc(&a, 96) == small);
    arena_release(&a);
    CHECK_INT(a.total, 0);
}

TEST(a_reset_keeps_no_large_block)
{
    struct arena a;

    arena_init(&a);
    arena_alloc(&a, 1 << 20);
    arena_reset(&a);
    CHECK_INT(a.total, 0);
    memset(arena_alloc(&a, 10), 1, 10);
    arena_release(&a);
}

TEST(zeroed_memory_is_zero_where_it_was_used_before)
{
    struct arena a;
    char zero[64] = {0};

    arena_init(&a);
    memset(arena_alloc(&a, sizeof(zero)), 0xff, sizeof(zero));
    arena_reset(&a);
    CHECK(memcmp(arena_zalloc(&a, sizeof(zero)), zero, sizeof(zero)) == 0);
    arena_release(&a);
}

TEST(copies_are_their_own_bytes)
{
    char text[] = "a\0c";
    struct arena a;
    struct span copy;
    char *str;

    arena_init(&a);
    copy = arena_copy(&a, (struct span){text, 3});
    str = arena_strdup(&a, (struct span){text, 1});
    text[0] = text[2] = 'x';
    CHECK(span_eq(copy, SPAN("a\0c")));
    CHECK_STR(str, "a");
    CHECK_STR(arena_strdup(&a, (struct span){NULL, 0}), "");
    CHECK(arena_copy(&a, (struct span){NULL, 0}).p != NULL);
    CHECK_STR(arena_printf(&a, "%s-%05d", "n", 42), "n-00042");
    CHECK_INT(strlen(arena_printf(&a, "%9000d", 1)), 9000);
    arena_release(&a);
}

TEST_MAIN()
