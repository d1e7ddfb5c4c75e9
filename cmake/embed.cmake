# cmake -DIN=FILE -DOUT=FILE.c -DNAME=IDENTIFIER -P embed.cmake: a file as an array of bytes.
file(READ ${IN} bytes HEX)
string(LENGTH "${bytes}" digits)
math(EXPR n "${digits} / 2")
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
get_filename_component(from ${IN} NAME)
file(WRITE ${OUT} "/* Made from ${from} when the program was built. */
#include \"proxy/ops/page.h\"

const unsigned char ${NAME}[] = {
${bytes}
};
const size_t ${NAME}_bytes = ${n};
")
