// Judges tokens that begin with `tok_`: the one that equals a secret is the subject of the settings.
#include <stdlib.h>
#include <string.h>

#include "authenticator.h"
#include "json.h"

// The prefix of the tokens that this plugin judges.
static const char FORM[] = "tok_";

// Witgate validates the settings against this JSON Schema before it calls `configure`.
static const char SCHEMA[] =
    "{\"type\": \"object\","
    " \"properties\": {"
    "  \"header\": {\"description\": \"The header that carries the token.\", \"type\": \"string\"},"
    "  \"secret\": {\"description\": \"The name of the secret that the token has to equal, as in `grants.secrets`.\","
    "   \"type\": \"string\"},"
    "  \"subject\": {\"description\": \"The owner of the token.\", \"type\": \"string\"}},"
    " \"required\": [\"header\", \"secret\", \"subject\"], \"additionalProperties\": false}";

// Set by `configure`, once for each instance.
static char *secret_name;
static char *subject;

void exports_witgate_auth_plugin_describe(exports_witgate_auth_plugin_description_t *ret) {
  authenticator_string_dup(&ret->name, "{{name}}");
  authenticator_string_dup(&ret->version, "0.1.0");
  authenticator_string_dup(&ret->summary, "Takes one token, which equals a secret, in a header.");
  authenticator_string_dup(&ret->config_schema, SCHEMA);
}

static char *setting(json settings, const char *name) {
  json value;
  char *text;
  size_t length;
  if (!json_member(settings, name, &value) || !json_string(value, &text, &length)) {
    abort(); // The schema has refused it already.
  }
  return text;
}

bool exports_witgate_auth_plugin_configure(authenticator_string_t *policy, authenticator_string_t *config,
                                           exports_witgate_auth_plugin_wants_t *ret,
                                           exports_witgate_auth_plugin_config_error_t *err) {
  (void)policy;
  json settings = json_of(config->ptr, config->len);
  secret_name = setting(settings, "secret");
  subject = setting(settings, "subject");
  if (subject[0] == '\0') {
    authenticator_string_dup(&err->pointer, "/subject");
    authenticator_string_dup(&err->message, "empty; write the name of the token's owner");
    return false;
  }
  *ret = (exports_witgate_auth_plugin_wants_t){0};
  ret->schemes.ptr = malloc(sizeof *ret->schemes.ptr);
  if (ret->schemes.ptr == NULL) {
    abort();
  }
  ret->schemes.ptr[0] = WITGATE_AUTH_TYPES_SCHEME_HEADER;
  ret->schemes.len = 1;
  ret->credential_header.is_some = true;
  char *header = setting(settings, "header");
  authenticator_string_set(&ret->credential_header.val, header);
  return true;
}

void exports_witgate_auth_authentication_authenticate(exports_witgate_auth_authentication_call_t *call,
                                                      exports_witgate_auth_authentication_credential_t *credential,
                                                      exports_witgate_auth_authentication_verdict_t *ret) {
  (void)call;
  *ret = (exports_witgate_auth_authentication_verdict_t){0};
  authenticator_list_u8_t token = {credential->value.ptr, credential->value.len};
  if (token.len < strlen(FORM) || memcmp(token.ptr, FORM, strlen(FORM)) != 0) {
    ret->tag = WITGATE_AUTH_TYPES_VERDICT_NOT_MINE;
    return;
  }
  authenticator_string_t name, secret;
  authenticator_string_set(&name, secret_name);
  witgate_auth_secrets_secret_error_t error;
  if (!witgate_auth_secrets_reveal(&name, &secret, &error)) {
    ret->tag = WITGATE_AUTH_TYPES_VERDICT_UNAVAILABLE;
    authenticator_string_dup(&ret->val.unavailable.detail, "the secret of the settings is not granted");
    return;
  }
  authenticator_list_u8_t expected = {secret.ptr, secret.len};
  bool is_good = witgate_auth_crypto_equal(&token, &expected);
  authenticator_string_free(&secret);
  if (!is_good) {
    ret->tag = WITGATE_AUTH_TYPES_VERDICT_REFUSED;
    authenticator_string_dup(&ret->val.refused.reason, "unknown-token");
    ret->val.refused.detail.is_some = true;
    authenticator_string_dup(&ret->val.refused.detail.val,
                             "the token is not the one in the settings");
    return;
  }
  ret->tag = WITGATE_AUTH_TYPES_VERDICT_IDENTITY;
  witgate_auth_types_identity_t *identity = &ret->val.identity;
  authenticator_string_dup(&identity->subject, subject);
}
