// Allows the tools whose names begin with one of the prefixes in the settings.
#include <stdlib.h>
#include <string.h>

#include "authorizer.h"
#include "json.h"

// Witgate validates the settings against this JSON Schema before it calls `configure`.
static const char SCHEMA[] =
    "{\"type\": \"object\","
    " \"properties\": {\"prefixes\": {"
    "  \"description\": \"Prefixes of the tools that may be called, such as `get-`.\","
    "  \"type\": \"array\", \"items\": {\"type\": \"string\"}}},"
    " \"required\": [\"prefixes\"], \"additionalProperties\": false}";

// Set by `configure`, once for each instance.
static authorizer_list_string_t prefixes;

void exports_witgate_auth_plugin_describe(exports_witgate_auth_plugin_description_t *ret) {
  authorizer_string_dup(&ret->name, "{{name}}");
  authorizer_string_dup(&ret->version, "0.1.0");
  authorizer_string_dup(&ret->summary, "Allows the tools whose names begin with a prefix of the settings.");
  authorizer_string_dup(&ret->config_schema, SCHEMA);
}

bool exports_witgate_auth_plugin_configure(authorizer_string_t *policy, authorizer_string_t *config,
                                           exports_witgate_auth_plugin_wants_t *ret,
                                           exports_witgate_auth_plugin_config_error_t *err) {
  (void)policy;
  json list, item;
  bool is_empty = false;
  if (json_member(json_of(config->ptr, config->len), "prefixes", &list)) {
    while (json_next(&list, &item)) {
      char *text;
      size_t length;
      if (!json_string(item, &text, &length)) {
        continue; // The schema has refused it already.
      }
      is_empty |= length == 0;
      prefixes.ptr = realloc(prefixes.ptr, (prefixes.len + 1) * sizeof *prefixes.ptr);
      if (prefixes.ptr == NULL) {
        abort();
      }
      prefixes.ptr[prefixes.len++] = (authorizer_string_t){(uint8_t *)text, length};
    }
  }
  if (is_empty) {
    authorizer_string_dup(&err->pointer, "/prefixes");
    authorizer_string_dup(&err->message,
                          "an empty prefix would allow every tool; write the beginning of names");
    return false;
  }
  *ret = (exports_witgate_auth_plugin_wants_t){0};
  return true;
}

void exports_witgate_auth_authorization_authorize(exports_witgate_auth_authorization_call_t *call,
                                                  exports_witgate_auth_authorization_principal_t *principal,
                                                  exports_witgate_auth_authorization_decision_t *ret) {
  *ret = (exports_witgate_auth_authorization_decision_t){0};
  if (call->kind != WITGATE_AUTH_TYPES_TARGET_KIND_TOOL) {
    ret->tag = WITGATE_AUTH_TYPES_DECISION_ABSTAIN;
    return;
  }
  for (size_t i = 0; i < prefixes.len; i++) {
    authorizer_string_t prefix = prefixes.ptr[i];
    if (call->target.len >= prefix.len && memcmp(call->target.ptr, prefix.ptr, prefix.len) == 0) {
      ret->tag = WITGATE_AUTH_TYPES_DECISION_ALLOW;
      return;
    }
  }
  (void)principal; // Who calls makes no difference yet.
  ret->tag = WITGATE_AUTH_TYPES_DECISION_DENY;
  authorizer_string_dup(&ret->val.deny.reason, "prefix-not-allowed");
  ret->val.deny.detail.is_some = true;
  authorizer_string_dup(&ret->val.deny.detail.val, "the tool's name begins with none of the configured prefixes");
}
