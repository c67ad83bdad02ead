#include <stdint.h>
#include <string.h>

void *memcpy(void *restrict to, const void *restrict from, size_t length) {
  return memmove(to, from, length);
}

void *memmove(void *to, const void *from, size_t length) {
  unsigned char *target = to;
  const unsigned char *source = from;
  if ((uintptr_t)target <= (uintptr_t)source) {
    for (size_t i = 0; i < length; i++) {
      target[i] = source[i];
    }
  } else {
    for (size_t i = length; i > 0; i--) {
      target[i - 1] = source[i - 1];
    }
  }
  return to;
}

void *memset(void *memory, int byte, size_t length) {
  unsigned char *target = memory;
  for (size_t i = 0; i < length; i++) {
    target[i] = (unsigned char)byte;
  }
  return memory;
}

int memcmp(const void *a, const void *b, size_t length) {
  const unsigned char *left = a, *right = b;
  for (size_t i = 0; i < length; i++) {
    if (left[i] != right[i]) {
      return left[i] < right[i] ? -1 : 1;
    }
  }
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length] != '\0') {
    length++;
  }
  return length;
}

int strncmp(const char *a, const char *b, size_t length) {
  for (size_t i = 0; i < length; i++) {
    if (a[i] != b[i] || a[i] == '\0') {
      return (unsigned char)a[i] - (unsigned char)b[i];
    }
  }
  return 0;
}

int strcmp(const char *a, const char *b) {
  return strncmp(a, b, SIZE_MAX);
}

char *strchr(const char *text, int byte) {
  for (; *text != (char)byte; text++) {
    if (*text == '\0') {
      return NULL;
    }
  }
  return (char *)text;
}
