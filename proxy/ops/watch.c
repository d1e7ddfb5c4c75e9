#include "proxy/ops/watch.h"

#include <string.h>
#include <sys/stat.h>

#include "proxy/base/span.h"

uint64_t watch_look(char *const *files, size_t n)
{
    uint64_t seen = 0;

    for (size_t i = 0; i < n; i++) {
        struct stat st;
        uint64_t marks[6] = {seen, i};

        if (stat(files[i], &st) == 0) {
            marks[1] = (uint64_t)st.st_dev ^ (uint64_t)st.st_ino << 16;
            marks[2] = (uint64_t)st.st_size;
            marks[3] = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
            marks[4] = (uint64_t)st.st_ctim.tv_sec * 1000000000u + (uint64_t)st.st_ctim.tv_nsec;
            marks[5] = 1;
        }
        seen = span_hash((struct span){(const char *)marks, sizeof(marks)});
    }
    return seen;
}
