// An allocator over the instance's linear memory: blocks of powers of two, and a list of free ones for each power.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// Linear memory grows by so much.
#define PAGE 65536u
// Sizes from 16 bytes to 1 GiB.
#define SMALLEST 4
#define SIZES 27

// Before each block; as long as any type has to be aligned.
typedef struct header {
  uint32_t size_class;
  struct header *next;
  uint64_t unused;
} header;

// Put by the linker where static data ends.
extern unsigned char __heap_base;

static header *free_blocks[SIZES];
static uintptr_t top;

static uint32_t class_of(size_t size) {
  uint32_t found = 0;
  while (found < SIZES && ((size_t)1 << (SMALLEST + found)) < size) {
    found++;
  }
  return found;
}

static header *fresh(uint32_t size_class) {
  if (top == 0) {
    top = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
  }
  uint64_t end = (uint64_t)top + sizeof(header) + ((uint64_t)1 << (SMALLEST + size_class));
  uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
  if (end > have) {
    uint64_t pages = (end - have + PAGE - 1) / PAGE;
    if (end > UINT32_MAX || __builtin_wasm_memory_grow(0, (size_t)pages) == (size_t)-1) {
      return NULL;
    }
  }
  header *block = (header *)top;
  top = (uintptr_t)end;
  block->size_class = size_class;
  return block;
}

void *malloc(size_t size) {
  uint32_t size_class = class_of(size);
  if (size_class >= SIZES) {
    return NULL;
  }
  header *block = free_blocks[size_class];
  if (block != NULL) {
    free_blocks[size_class] = block->next;
  } else if ((block = fresh(size_class)) == NULL) {
    return NULL;
  }
  return block + 1;
}

void free(void *memory) {
  if (memory != NULL) {
    header *block = (header *)memory - 1;
    block->next = free_blocks[block->size_class];
    free_blocks[block->size_class] = block;
  }
}

void *calloc(size_t count, size_t size) {
  size_t whole;
  if (__builtin_mul_overflow(count, size, &whole)) {
    return NULL;
  }
  void *memory = malloc(whole);
  return memory == NULL ? NULL : memset(memory, 0, whole);
}

void *realloc(void *old, size_t size) {
  if (old == NULL) {
    return malloc(size);
  }
  size_t had = (size_t)1 << (SMALLEST + ((header *)old - 1)->size_class);
  if (size <= had) {
    return old;
  }
  void *memory = malloc(size);
  if (memory != NULL) {
    memcpy(memory, old, had);
    free(old);
  }
  return memory;
}

_Noreturn void abort(void) {
  __builtin_trap();
}
