/* Fresh secrets and what is kept of them. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* 160 random bits behind the prefix. */
void cli_fresh_secret(const char *prefix, char out[64])
{
    unsigned char random[20];
    char hex[41];

    randombytes_buf(random, sizeof random);
    sodium_bin2hex(hex, sizeof hex, random, sizeof random);
    snprintf(out, 64, "%s_%s", prefix, hex);
}

void cli_sha256_hex(const char *text, char out[65])
{
    unsigned char hash[crypto_hash_sha256_BYTES];

    crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
    sodium_bin2hex(out, 65, hash, sizeof hash);
}
