// The smallest authorizer: callers who have the role may call, others may not.
#include <string.h>

#include "authorizer.h"
#include "json.h"

// Witgate validates the settings against this JSON Schema before it calls `configure`.
static const char SCHEMA[] =
    "{\"type\": \"object\","
    " \"properties\": {\"role\": {\"description\": \"The role that a caller needs.\", \"type\": \"string\"}},"
    " \"required\": [\"role\"], \"additionalProperties\": false}";

// Set by `configure`, once for each instance.
static authorizer_string_t role;

void exports_witgate_auth_plugin_describe(exports_witgate_auth_plugin_description_t *ret) {
  authorizer_string_dup(&ret->name, "hello-authorizer-c");
  authorizer_string_dup(&ret->version, "0.1.0");
  authorizer_string_dup(&ret->summary, "Allows callers who have one role.");
  authorizer_string_dup(&ret->config_schema, SCHEMA);
}

bool exports_witgate_auth_plugin_configure(authorizer_string_t *policy, authorizer_string_t *config,
                                           exports_witgate_auth_plugin_wants_t *ret,
                                           exports_witgate_auth_plugin_config_error_t *err) {
  (void)policy;
  json value;
  char *text;
  size_t length = 0;
  if (!json_member(json_of(config->ptr, config->len), "role", &value) || !json_string(value, &text, &length) ||
      length == 0) {
    authorizer_string_dup(&err->pointer, "/role");
    authorizer_string_dup(&err->message, "an empty role; write the name of a role");
    return false;
  }
  role = (authorizer_string_t){(uint8_t *)text, length};
  *ret = (exports_witgate_auth_plugin_wants_t){0};
  return true;
}

void exports_witgate_auth_authorization_authorize(exports_witgate_auth_authorization_call_t *call,
                                                  exports_witgate_auth_authorization_principal_t *principal,
                                                  exports_witgate_auth_authorization_decision_t *ret) {
  (void)call;
  *ret = (exports_witgate_auth_authorization_decision_t){0};
  for (size_t i = 0; i < principal->roles.len; i++) {
    authorizer_string_t own = principal->roles.ptr[i];
    if (own.len == role.len && memcmp(own.ptr, role.ptr, role.len) == 0) {
      ret->tag = WITGATE_AUTH_TYPES_DECISION_ALLOW;
      return;
    }
  }
  ret->tag = WITGATE_AUTH_TYPES_DECISION_DENY;
  authorizer_string_dup(&ret->val.deny.reason, "wrong-role");
  ret->val.deny.detail.is_some = true;
  authorizer_string_dup(&ret->val.deny.detail.val, "the caller does not have the role of the settings");
}
