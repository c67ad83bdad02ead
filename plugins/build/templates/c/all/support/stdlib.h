// Memory. There is no system below a plugin.
#ifndef SUPPORT_STDLIB_H
#define SUPPORT_STDLIB_H

#include <stddef.h>

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *old, size_t size);
void free(void *memory);

// Ends the instance; the call is denied.
_Noreturn void abort(void);

#endif
