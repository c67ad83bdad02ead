#include "json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void skip_space(json *text) {
  while (text->at < text->end && strchr(" \t\r\n", *text->at) != NULL && *text->at != '\0') {
    text->at++;
  }
}

static bool take(json *text, char byte) {
  skip_space(text);
  if (text->at >= text->end || *text->at != byte) {
    return false;
  }
  text->at++;
  return true;
}

// Steps over a string whose opening quote has been taken.
static void skip_string(json *text) {
  while (text->at < text->end && *text->at != '"') {
    text->at += *text->at == '\\' && text->end - text->at > 1 ? 2 : 1;
  }
  take(text, '"');
}

// Steps over one value and returns it.
static json value_at(json *text) {
  skip_space(text);
  json value = {text->at, text->at};
  size_t depth = 0;
  while (text->at < text->end) {
    char byte = *text->at;
    bool ends = byte == ',' || byte == '}' || byte == ']';
    if (depth == 0 && ends) {
      break;
    }
    text->at++;
    if (byte == '"') {
      skip_string(text);
    } else if (byte == '{' || byte == '[') {
      depth++;
    } else if (byte == '}' || byte == ']') {
      depth--;
    }
  }
  value.end = text->at;
  return value;
}

json json_of(const void *text, size_t length) {
  return (json){text, (const char *)text + length};
}

bool json_member(json object, const char *name, json *value) {
  if (!take(&object, '{')) {
    return false;
  }
  do {
    skip_space(&object);
    json key = {object.at, object.at};
    if (!take(&object, '"')) {
      return false;
    }
    skip_string(&object);
    key.end = object.at;
    char *text;
    size_t length;
    bool found = json_string(key, &text, &length);
    if (found) {
      found = strcmp(text, name) == 0;
      free(text);
    }
    if (!take(&object, ':')) {
      return false;
    }
    json member = value_at(&object);
    if (found) {
      *value = member;
      return true;
    }
  } while (take(&object, ','));
  return false;
}

bool json_next(json *place, json *item) {
  if (!take(place, '[') && !take(place, ',')) {
    return false;
  }
  *item = value_at(place);
  return item->at < item->end;
}

// Four hexadecimal digits.
static uint32_t unit(const char *digits) {
  uint32_t value = 0;
  for (int i = 0; i < 4; i++) {
    char digit = digits[i];
    value = value * 16 + (uint32_t)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
  }
  return value;
}

static char *push(char *out, uint32_t point) {
  if (point < 0x80) {
    *out++ = (char)point;
  } else if (point < 0x800) {
    *out++ = (char)(0xc0 | point >> 6);
    *out++ = (char)(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    *out++ = (char)(0xe0 | point >> 12);
    *out++ = (char)(0x80 | (point >> 6 & 0x3f));
    *out++ = (char)(0x80 | (point & 0x3f));
  } else {
    *out++ = (char)(0xf0 | point >> 18);
    *out++ = (char)(0x80 | (point >> 12 & 0x3f));
    *out++ = (char)(0x80 | (point >> 6 & 0x3f));
    *out++ = (char)(0x80 | (point & 0x3f));
  }
  return out;
}

// One escape, behind its backslash. Returns what follows it.
static const char *escape(const char *at, const char *end, char **out) {
  static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
  const char *name = strchr(names, *at);
  if (name != NULL && *at != '\0') {
    *(*out)++ = meanings[name - names];
    return at + 1;
  }
  if (*at != 'u' || end - at < 5) {
    return at + 1;
  }
  uint32_t point = unit(at + 1);
  at += 5;
  bool is_high = point >= 0xd800 && point < 0xdc00;
  if (is_high && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
    point = 0x10000 + ((point - 0xd800) << 10) + (unit(at + 2) - 0xdc00);
    at += 6;
  }
  *out = push(*out, point);
  return at;
}

bool json_string(json value, char **text, size_t *length) {
  if (!take(&value, '"')) {
    return false;
  }
  // No escape is shorter than what it stands for.
  char *start = malloc((size_t)(value.end - value.at) + 1), *out = start;
  if (start == NULL) {
    abort();
  }
  while (value.at < value.end && *value.at != '"') {
    char byte = *value.at++;
    if (byte == '\\' && value.at < value.end) {
      value.at = escape(value.at, value.end, &out);
    } else {
      *out++ = byte;
    }
  }
  *out = '\0';
  *text = start;
  *length = (size_t)(out - start);
  return true;
}
