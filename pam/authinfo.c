#include "pam/authinfo.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/reader.h"
#include "lib/str.h"
#include "lib/util.h"

#define METHOD "publickey "

/* PROTOCOL.certkeys. Security keys are not among them: whether somebody touched one is not told
 * here, so that a certificate that demands it could not be held to it. */
static const char *const cert_types[] = {
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "ssh-rsa-cert-v01@openssh.com",
};

static bool is(const char *want, const void *have, size_t len)
{
	return strlen(want) == len && memcmp(want, have, len) == 0;
}

static bool type_known(const char *type, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(cert_types); i++)
		if (is(cert_types[i], type, len))
			return true;
	return false;
}

static bool printable(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	return true;
}

/* The type is said twice, in the text and in the key: both must be the same. */
static int check_blob(const uint8_t *blob, size_t blob_len, const char *type, size_t type_len)
{
	struct reader r;
	const uint8_t *inner;
	size_t inner_len;

	reader_init(&r, blob, blob_len);
	if (reader_string(&r, type_len, &inner, &inner_len) < 0)
		return -EBADMSG;
	return inner_len == type_len && memcmp(inner, type, type_len) == 0 ? 0 : -EBADMSG;
}

int authinfo_parse(const char *text, size_t len, struct buf *ret, struct err *e)
{
	const size_t skip = sizeof METHOD - 1;
	const char *type, *space;
	size_t type_len, key_len = 0;
	cleanup_free uint8_t *key = NULL;
	int r;

	if (!text || len == 0)
		return err_set(e, -ENODATA, "sshd names no key");
	if (len > AUTHINFO_TEXT_MAX)
		return err_set(e, -EBADMSG, "sshd's word on the login is too long");
	if (text[len - 1] == '\n')
		len--;
	if (memchr(text, '\n', len))
		return err_set(e, -EBADMSG, "more than one way of authentication was used");
	if (!printable(text, len))
		return err_set(e, -EBADMSG, "odd characters in sshd's word on the login");
	if (len <= skip || memcmp(text, METHOD, skip) != 0)
		return err_set(e, -EBADMSG, "not authenticated by a key");
	type = text + skip;
	len -= skip;
	space = memchr(type, ' ', len);
	type_len = space ? (size_t)(space - type) : len;
	if (!type_known(type, type_len))
		return err_set(e, -EBADMSG, "not authenticated by a certificate");
	if (!space)
		return err_set(e, -EBADMSG, "sshd names no certificate");
	len -= type_len + 1;
	key = malloc(len / 4 * 3 + 1);
	if (!key)
		return err_set(e, -ENOMEM, "no memory");
	if (b64_decode(key, len / 4 * 3, space + 1, len, &key_len) < 0 ||
	    check_blob(key, key_len, type, type_len) < 0)
		return err_set(e, -EBADMSG, "the certificate that sshd names is malformed");
	buf_put(ret, key, key_len);
	if ((r = buf_status(ret)) < 0)
		return err_set(e, r, "the certificate that sshd names is too long");
	return 0;
}
