/* Certificates: whatever comes is refused or read, and what was read keeps its promises. */
#include "creds/cert.h"

#include <stdlib.h>
#include <string.h>

#include "lib/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct cert *c)
{
	struct err e = ERR_INIT;

	if (c->nprincipals > CERT_PRINCIPALS_MAX || strlen(c->key_id) > CERT_KEY_ID_MAX ||
	    c->signed_len >= c->blob_len || c->scope == NULL || c->subject == NULL || c->ca == NULL)
		abort();
	for (size_t i = 0; i < c->nprincipals; i++) {
		if (c->principals[i][0] == '\0' || !cert_has_principal(c, c->principals[i]))
			abort();
	}
	for (const char *p = c->key_id_text; *p != '\0'; p++) {
		if (*p < ' ' || *p > '~')
			abort();
	}
	if (cert_verify(c, &e) == 0 &&
	    (c->kind != CERT_USER || c->nprincipals == 0 || (c->has_source && c->source.n == 0)))
		abort();
	(void)cert_valid_at(c, 1800000000, &e);
	(void)cert_source_ok(c, "192.0.2.1", &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct cert *c = NULL;

	if (cert_parse(data, size, &c, &e) == 0)
		check(c);
	cert_free(c);
	c = NULL;
	if (cert_parse_line((const char *)data, size, &c, &e) == 0)
		check(c);
	cert_free(c);
	return 0;
}
