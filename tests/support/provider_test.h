/*
 * A provider for tests: it keeps what it was asked and answers when the test says so, in any order.
 */
#ifndef POSTERN_TESTS_SUPPORT_PROVIDER_TEST_H
#define POSTERN_TESTS_SUPPORT_PROVIDER_TEST_H

#include <stddef.h>

#include "creds/provider.h"

#define PROVIDER_TEST_PENDING 16

struct provider *provider_test_new(const char *kind);
/* How many mints wait for their answer. */
size_t provider_test_pending(const struct provider *p);
/* Answers the oldest mint: value, or with NULL a refusal for this reason. False if none waits. */
bool provider_test_answer(struct provider *p, const char *value, const char *reason);
/* From now on mint() itself answers with this -errno (0: works again). */
void provider_test_fail(struct provider *p, int r);
size_t provider_test_minted(const struct provider *p);
size_t provider_test_revoked(const struct provider *p);
/* The id of the lease revoked last, "" if there was none. */
const char *provider_test_last_revoked(const struct provider *p);

#endif
