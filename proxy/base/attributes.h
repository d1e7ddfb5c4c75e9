/* attributes.h - what the compiler should check for us. */
#ifndef HOLDFAST_BASE_ATTRIBUTES_H
#define HOLDFAST_BASE_ATTRIBUTES_H

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NO_RETURN              __attribute__((noreturn))
#define UNUSED                 __attribute__((unused))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The struct that contains `member` at address `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
