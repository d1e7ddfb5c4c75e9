#include "proxy/wire/http1_bytes.h"

/* clang-format off */
const uint8_t http1_bytes[256] = {
    ['\t']          = TEXT,
    [' ']           = TEXT,
    ['!']           = TEXT | TARGET | TOKEN,
    ['"']           = TEXT | TARGET,
    ['#']           = TEXT | TOKEN,
    ['$' ... '\'']  = TEXT | TARGET | TOKEN,
    ['(' ... ')']   = TEXT | TARGET,
    ['*' ... '+']   = TEXT | TARGET | TOKEN,
    [',']           = TEXT | TARGET,
    ['-' ... '.']   = TEXT | TARGET | TOKEN | NAME,
    ['/']           = TEXT | TARGET,
    ['0' ... '9']   = TEXT | TARGET | TOKEN | NAME | DIGIT,
    [':' ... '@']   = TEXT | TARGET,
    ['A' ... 'Z']   = TEXT | TARGET | TOKEN | NAME,
    ['[']           = TEXT | TARGET,
    ['\\']          = TEXT,
    [']']           = TEXT | TARGET,
    ['^']           = TEXT | TARGET | TOKEN,
    ['_']           = TEXT | TARGET | TOKEN | NAME,
    ['`']           = TEXT | TARGET | TOKEN,
    ['a' ... 'z']   = TEXT | TARGET | TOKEN | NAME,
    ['{']           = TEXT | TARGET,
    ['|']           = TEXT | TARGET | TOKEN,
    ['}']           = TEXT | TARGET,
    ['~']           = TEXT | TARGET | TOKEN | NAME,
    [0x80 ... 0xff] = TEXT,
};
/* clang-format on */
