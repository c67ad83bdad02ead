// Reads the JSON that Witgate hands over: settings, arguments, claims. It is well-formed already, and no member has the
// name of another one beside it.
#ifndef SUPPORT_JSON_H
#define SUPPORT_JSON_H

#include <stdbool.h>
#include <stddef.h>

// The text of one value, within a larger one.
typedef struct {
  const char *at;
  const char *end;
} json;

json json_of(const void *text, size_t length);

// The member of an object that has this name. False: there is none.
bool json_member(json object, const char *name, json *value);

// Steps through an array: false after the last item. `*place` begins as the array.
bool json_next(json *place, json *item);

// A string, as UTF-8 in memory of its own, with `\0` behind its end. False: the value is none.
bool json_string(json value, char **text, size_t *length);

#endif
