#pragma once
// The low-level SHA-256 states are wanted: OpenSSL's HMAC allocates twice per tag, a saved state does not.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
