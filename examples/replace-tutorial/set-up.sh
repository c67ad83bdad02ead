#!/bin/sh
# Makes the four users, and a key for the service. Passwords and key are random, and are shown once.
set -eu
for user in admin:admin testuser:user readonly:readonly service_bot:service; do
    name=${user%%:*}
    password=$(openssl rand -base64 18)
    printf '%s\n' "$password" | witgate user add "$name" --accounts --role "${user##*:}" --password-stdin
    echo "$name $password"
done
witgate accounts keys create service_bot nightly --scope notes:read --scope notes:write --expires 90d
