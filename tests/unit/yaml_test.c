#include <dirent.h>
#include <sys/stat.h>

#include "config/yaml.h"
#include "proxy/base/mem.h"
#include "proxy/base/strbuf.h"
#include "tests/unit/check.h"

/* The tree in one line: {key=text key=[text text]}, ~ for null. */
static void show(const struct node *n, struct strbuf *out)
{
    if (n->kind == NODE_TEXT) {
        strbuf_add(out, n->null ? "~" : n->text);
        return;
    }
    strbuf_add_char(out, n->kind == NODE_MAP ? '{' : '[');
    for (const struct node *c = n->first; c != NULL; c = c->next) {
        if (c != n->first)
            strbuf_add_char(out, ' ');
        if (c->key != NULL)
            strbuf_addf(out, "%s=", c->key);
        show(c, out);
    }
    strbuf_add_char(out, n->kind == NODE_MAP ? '}' : ']');
}

static void check_tree(const char *text, const char *want)
{
    char mem[512];
    struct strbuf out = strbuf_on(mem, sizeof(mem));
    struct yaml y;
    struct err e = {0};

    if (yaml_read(&y, "t", span_of(text), &e) < 0)
        fail_msg("%s: %s", text, e.msg);
    if (y.root != NULL)
        show(y.root, &out);
    CHECK_STR(mem, want);
    yaml_release(&y);
}

static void check_refused(struct span text, const char *want)
{
    struct yaml y;
    struct err e = {0};

    if (yaml_read(&y, "t", text, &e) == 0)
        fail_msg("accepted: %.*s", SPAN_ARG(text));
    CHECK_STR(e.msg, want);
}

TEST(blocks_and_flows_give_the_same_tree)
{
    check_tree("a: 1\nb:\n  - x\n  - y\n", "{a=1 b=[x y]}");
    check_tree("{a: 1, b: [x, y]}", "{a=1 b=[x y]}");
    check_tree("\xef\xbb\xbf"
               "a: 1",
               "{a=1}");
    check_tree("a: 1\r\nb: 2\r\n", "{a=1 b=2}");
}

TEST(scalars_stay_the_text_that_was_written)
{
    check_tree("[no, 010, 0x1f, 1e3, yes]", "[no 010 0x1f 1e3 yes]");
    check_tree("{a: , b: ~, c: null, d: '', e: \"~\", f: 'null'}", "{a=~ b=~ c=~ d= e=~ f=null}");
    check_tree("a: \"x\\ty\\u00e9\"", "{a=x\ty\xc3\xa9}");
}

TEST(only_an_unquoted_null_is_null)
{
    struct yaml y;
    struct err e;

    CHECK(yaml_read(&y, "t", SPAN("[~, '~', '']"), &e) == 0);
    CHECK(y.root->first->null);
    CHECK(!y.root->first->next->null);
    CHECK(!y.root->first->next->next->null);
    yaml_release(&y);
}

TEST(a_text_without_content_has_no_root)
{
    static const char *const texts[] = {"", "\n", "# nothing\n", "---\n", "--- ~\n...\n", "null"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        check_tree(texts[i], "");
}

TEST(nodes_know_where_they_stand_in_characters)
{
    struct yaml y;
    struct err e;
    const struct node *n;

    CHECK(yaml_read(&y, "t", SPAN("\xc3\xa4: {\xc3\xb6: 1, b: [x]}\nc:\n  d: 2\n"), &e) == 0);
    n = node_find(node_find(y.root, "\xc3\xa4"), "b");
    CHECK_INT(n->key_line, 1);
    CHECK_INT(n->key_column, 11);
    CHECK_INT(n->first->column, 15);
    n = node_find(node_find(y.root, "c"), "d");
    CHECK_INT(n->line, 3);
    CHECK_INT(n->column, 6);
    CHECK(node_find(y.root, "nothing") == NULL);
    CHECK(node_find(NULL, "c") == NULL);
    CHECK(node_find(n, "c") == NULL);
    yaml_release(&y);
}

TEST(what_a_configuration_does_not_need_is_refused_by_name_and_place)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"a: &x 1", "t:1:4: anchors (&name) are not used here; write the value out"},
        {"a: &x [1]", "t:1:4: anchors (&name) are not used here; write the value out"},
        {"a: 1\nb: *x", "t:2:4: aliases (*name) are not used here; write the value out"},
        {"{<<: *x}", "t:1:6: aliases (*name) are not used here; write the value out"},
        {"a: !!python/object:os.system x", "t:1:4: tags (!name) are not used here; remove it"},
        {"!x {a: 1}", "t:1:1: tags (!name) are not used here; remove it"},
        {"%TAG ! tag:x,2000:\n---\na: 1", "t:1:1: tags are not used here; remove the line"},
        {"a: 1\n---\nb: 1", "t:2:1: a second document; expected one only"},
        {"[a]: 1", "t:1:1: a key must be plain text"},
        {"? {a: 1}\n: 1", "t:1:3: a key must be plain text"},
        {"a: \"x\\0y\"", "t:1:4: a NUL character is not allowed"},
        {"a: 1\nb: 2\na: 3", "t:3:1: the key \"a\" stands here twice; first on line 1"},
        {"{z: 1, b: 2, z: 3, b: 4}", "t:1:14: the key \"z\" stands here twice; first on line 1"},
        {"x:\n  a: 1\n  a: 1", "t:3:3: the key \"a\" stands here twice; first on line 2"},
        {"a:\n\tb: 1", "t:2:1: a tab cannot stand here; use spaces"},
        {"a: [1, 2\nb: 3\n",
         "t:2:2: did not find expected ',' or ']' while parsing a flow sequence "
         "that begins on line 1"},
        {"a: 1\n b: 2", "t:2:3: mapping values are not allowed in this context"},
        {"a: \x01", "t:1:4: a control character is not allowed"},
        {"a: \xff", "t:1:4: not UTF-8 text; save the file as UTF-8"},
        {"a: b\n\xed\xa0\x80", "t:2:1: not UTF-8 text; save the file as UTF-8"},
        {"\xc0\x80", "t:1:1: not UTF-8 text; save the file as UTF-8"},
        {"\xf4\x90\x80\x80", "t:1:1: not UTF-8 text; save the file as UTF-8"},
        {"\xe2\x82", "t:1:1: not UTF-8 text; save the file as UTF-8"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_refused(span_of(rows[i].text), rows[i].want);
    check_refused((struct span){"a\0b", 3}, "t:1:2: a control character is not allowed");
}

TEST(nesting_ends_at_the_limit)
{
    char text[2 * YAML_MAX_DEPTH + 3], *deep = mem_alloc(100000);
    struct yaml y;
    struct err e = {0};

    memset(text, '[', YAML_MAX_DEPTH + 1);
    memset(text + YAML_MAX_DEPTH + 1, ']', YAML_MAX_DEPTH + 1);
    CHECK(yaml_read(&y, "t", (struct span){text + 1, 2 * YAML_MAX_DEPTH}, &e) == 0);
    yaml_release(&y);
    check_refused((struct span){text, 2 * YAML_MAX_DEPTH + 2}, "t:1:33: nested too deeply");
    memset(deep, '{', 100000);
    CHECK(yaml_read(&y, "t", (struct span){deep, 100000}, &e) < 0);
    memset(deep, '-', 100000);
    for (size_t i = 1; i < 100000; i += 2)
        deep[i] = ' ';
    CHECK(yaml_read(&y, "t", (struct span){deep, 100000}, &e) < 0);
    free(deep);
}

TEST(a_mebibyte_is_read_and_a_byte_more_is_not)
{
    char *text = mem_alloc(YAML_MAX_BYTES + 1);
    struct yaml y;
    struct err e = {0};

    memset(text, ' ', YAML_MAX_BYTES + 1);
    memcpy(text, "a: 1\n#", 6);
    CHECK(yaml_read(&y, "t", (struct span){text, YAML_MAX_BYTES}, &e) == 0);
    yaml_release(&y);
    check_refused((struct span){text, YAML_MAX_BYTES + 1}, "t: larger than 1 MiB");
    free(text);
}

TEST(many_keys_are_compared_in_linear_steps)
{
    struct strbuf text = strbuf_heap(YAML_MAX_BYTES);
    struct yaml y;
    struct err e = {0};

    for (unsigned i = 0; i < 80000; i++)
        strbuf_addf(&text, "k%u: 1\n", i);
    CHECK(!text.failed);
    CHECK(yaml_read(&y, "t", strbuf_span(&text), &e) == 0);
    yaml_release(&y);
    strbuf_add(&text, "k7: 1\n");
    check_refused(strbuf_span(&text),
                  "t:80001:1: the key \"k7\" stands here twice; first on line 8");
    strbuf_release(&text);
}

/* The suite writes invisible characters as visible ones. */
static void unveil(const char *text, struct strbuf *out)
{
    static const char no_line_end[] = "\xe2\x88\x8e";
    static const struct {
        const char *shown, *meant;
    } signs[] = {{"\xe2\x90\xa3", " "}, {"\xe2\x80\x94", ""},   {"\xc2\xbb", "\t"},
                 {"\xe2\x86\xb5", ""},  {"\xe2\x86\x90", "\r"}, {"\xe2\x87\x94", "\xef\xbb\xbf"}};

    strbuf_clear(out);
    while (*text != '\0' && strncmp(text, no_line_end, 3) != 0) {
        size_t i = 0;

        while (i < ARRAY_LEN(signs) && strncmp(text, signs[i].shown, strlen(signs[i].shown)) != 0)
            i++;
        if (i < ARRAY_LEN(signs)) {
            strbuf_add(out, signs[i].meant);
            text += strlen(signs[i].shown);
        } else {
            strbuf_add_char(out, *text++);
        }
    }
}

struct tally {
    unsigned files, cases, accepted, refused, bad_accepted;
};

/* Each entry of the list has `yaml`, and `fail: true` where no reader may accept it; an entry
 * without `fail` has it from the one before. */
static void run_cases(const struct node *list, struct strbuf *plain, struct tally *t)
{
    bool must_fail = false;

    for (const struct node *one = list->first; one != NULL; one = one->next) {
        const struct node *text = node_find(one, "yaml"), *bad = node_find(one, "fail");
        struct yaml y;
        struct err e = {0};

        if (bad != NULL)
            must_fail = strcmp(bad->text, "true") == 0;
        else if (node_find(one, "tree") != NULL)
            must_fail = false;
        if (text == NULL)
            continue;
        unveil(text->text, plain);
        t->cases++;
        if (yaml_read(&y, "case", strbuf_span(plain), &e) == 0) {
            t->accepted++;
            t->bad_accepted += must_fail;
            yaml_release(&y);
        } else {
            t->refused++;
            CHECK(strncmp(e.msg, "case:", 5) == 0);
        }
    }
}

TEST(the_yaml_test_suite_does_not_crash_the_loader)
{
    static const char folder[] = SHARED_DIR "/testdata/yaml-test-suite/src";
    DIR *d = opendir(folder);
    struct strbuf plain = strbuf_heap(YAML_MAX_BYTES);
    struct tally t = {0};

    if (d == NULL) {
        printf("skipped: no ../shared\n");
        return;
    }
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        char path[1024], *text;
        struct yaml y;
        struct err e = {0};
        size_t n;
        FILE *f;

        if (strstr(entry->d_name, ".yaml") == NULL)
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        f = fopen(path, "r");
        CHECK(f != NULL);
        text = mem_alloc(YAML_MAX_BYTES);
        n = fread(text, 1, YAML_MAX_BYTES, f);
        fclose(f);
        if (yaml_read(&y, path, (struct span){text, n}, &e) < 0)
            fail_msg("%s", e.msg);
        t.files++;
        run_cases(y.root, &plain, &t);
        yaml_release(&y);
        free(text);
    }
    closedir(d);
    strbuf_release(&plain);
    printf(
        "yaml-test-suite: %u files, %u cases: %u accepted, %u refused, %u accepted that no reader "
        "should\n",
        t.files, t.cases, t.accepted, t.refused, t.bad_accepted);
    CHECK(t.files > 300 && t.cases > 300);
    CHECK(t.accepted > 100 && t.refused > 100);
}

TEST_MAIN()
