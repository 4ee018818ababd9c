#include "broker/witness/key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/secret.h"
#include "lib/str.h"

#define PREFIX   "PRIVATE+KEY+"
#define RAW_LEN  (1 + NOTE_KEY_LEN)
#define FILE_MAX 1024

/* Everything but the seed's own bytes. */
static int public_of(const char *name, struct secret *seed, struct note_key *ret, struct err *e)
{
	uint8_t point[NOTE_KEY_LEN];
	int r = note_public(secret_data(seed), point);

	if (r < 0)
		return err_set(e, r, "libcrypto does not work");
	return note_key_init(ret, name, NOTE_COSIGNATURE, point, e);
}

/* NAME+ID+BASE64, without the LF. */
static int parse(const char *p, size_t len, struct witness_key *ret, struct err *e)
{
	const char *plus = memchr(p, '+', len);
	size_t n = plus ? (size_t)(plus - p) : 0, got;
	char name[NOTE_NAME_MAX + 1], hex[9];
	struct witness_key k = {.seed = NULL};
	uint8_t raw[RAW_LEN];
	int r;

	if (n == 0 || n > NOTE_NAME_MAX || len != n + 1 + 8 + 1 + B64_LEN(RAW_LEN) ||
	    p[n + 9] != '+' ||
	    b64_decode(raw, sizeof raw, p + n + 10, B64_LEN(RAW_LEN), &got) < 0 || got != RAW_LEN ||
	    raw[0] != NOTE_COSIGNATURE)
		return err_set(e, -EBADMSG, "this is no witness's key");
	memcpy(name, p, n);
	name[n] = '\0';
	if (!(k.seed = secret_new(NOTE_KEY_LEN))) {
		secret_wipe(raw, sizeof raw);
		return err_set(e, -ENOMEM, "no memory");
	}
	memcpy(secret_data(k.seed), raw + 1, NOTE_KEY_LEN);
	secret_wipe(raw, sizeof raw);
	r = public_of(name, k.seed, &k.public, e);
	hex_encode(hex, k.public.id, 4);
	if (r == 0 && memcmp(hex, p + n + 1, 8) != 0)
		r = err_set(e, -EBADMSG, "the key's id does not fit the key");
	if (r < 0) {
		witness_key_done(&k);
		return r;
	}
	*ret = k;
	return 0;
}

int witness_key_load(int dir, const char *name, struct witness_key *ret, struct err *e)
{
	size_t prefix = strlen(PREFIX);
	cleanup_buf struct buf b;
	struct witness_key k;
	int r;

	buf_init(&b, FILE_MAX);
	if ((r = fd_read_file(dir, WITNESS_KEY_FILE, FILE_MAX, &b, e)) < 0)
		return r;
	if (b.len <= prefix + 1 || memcmp(b.data, PREFIX, prefix) != 0 || b.data[b.len - 1] != '\n')
		return err_set(e, -EBADMSG, WITNESS_KEY_FILE ": this is no witness's key");
	if ((r = parse((const char *)b.data + prefix, b.len - prefix - 1, &k, e)) < 0)
		return err_wrap(e, r, WITNESS_KEY_FILE);
	if (name && strcmp(name, k.public.name) != 0) {
		r = err_set(e, -EINVAL, "the key that is there is called %s", k.public.name);
		witness_key_done(&k);
		return r;
	}
	*ret = k;
	return 0;
}

static int save(int dir, const struct witness_key *k, struct err *e)
{
	char hex[9], b64[B64_LEN(RAW_LEN) + 1];
	cleanup_buf struct buf b;
	uint8_t raw[RAW_LEN];
	struct stat st;
	int r;

	raw[0] = NOTE_COSIGNATURE;
	memcpy(raw + 1, secret_data(k->seed), NOTE_KEY_LEN);
	hex_encode(hex, k->public.id, 4);
	b64_encode(b64, raw, sizeof raw);
	buf_init(&b, FILE_MAX);
	buf_printf(&b, PREFIX "%s+%s+%s\n", k->public.name, hex, b64);
	secret_wipe(raw, sizeof raw);
	secret_wipe(b64, sizeof b64);
	if ((r = buf_status(&b)) < 0)
		return err_set(e, r, "no room for a key");
	if ((r = fd_write_file(dir, WITNESS_KEY_FILE, b.data, b.len, 0600, e)) < 0)
		return r;
	/* made by root for a witness that will run as the directory's owner */
	if (geteuid() == 0 && (fstat(dir, &st) < 0 || fchownat(dir, WITNESS_KEY_FILE, st.st_uid,
	                                                  st.st_gid, AT_SYMLINK_NOFOLLOW) < 0))
		return err_set(e, -errno, "cannot give the key to its owner: %m");
	return 0;
}

int witness_key_make(int dir, const char *name, struct witness_key *ret, struct err *e)
{
	struct witness_key k = {.seed = secret_new(NOTE_KEY_LEN)};
	int r;

	if (!k.seed)
		return err_set(e, -ENOMEM, "no memory");
	fd_random(secret_data(k.seed), NOTE_KEY_LEN);
	if ((r = public_of(name, k.seed, &k.public, e)) < 0 || (r = save(dir, &k, e)) < 0) {
		witness_key_done(&k);
		return r;
	}
	*ret = k;
	return 0;
}

void witness_key_done(struct witness_key *k)
{
	secret_free(k->seed);
	k->seed = NULL;
}
