/* ca init. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/ctl/ctl.h"
#include "broker/ctl/keyfile.h"
#include "creds/key.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/* Where `ca init NAME` puts a key: STATE/ca/NAME. */
static int named_path(const struct ctl *c, const char *name, char path[PATH_MAX], struct err *e)
{
	char dir[PATH_MAX];
	int r;

	if ((r = name_check("CA", name, strlen(name), e)) < 0)
		return r;
	ctl_path(c, "ca", "/var/lib/postern/ca", dir);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, -errno, "cannot make %s: %m", dir);
	if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "the path is too long");
	return 0;
}

static int show(const struct ctl *c, const char *path)
{
	cleanup_key struct key *k = NULL;
	cleanup_buf struct buf line;
	struct err e = ERR_INIT;
	char fingerprint[KEY_FINGERPRINT_LEN];
	json_t *o;

	buf_init(&line, 16384);
	if (keyfile_public(path, &line, &e) < 0 || !buf_cstr(&line) ||
	    key_parse_line((const char *)line.data, line.len, &k, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	key_fingerprint(k, fingerprint);
	if (c->json) {
		o = json_pack("{s:s, s:s, s:s}", "file", path, "public", (const char *)line.data,
		    "fingerprint", fingerprint);
		(void)ctl_json(o);
		json_decref(o);
		return EXIT_OK;
	}
	(void)printf("%s\n%s.pub\n%s\n\nFor the tenant's file:\nca:\n  - \"%s\"\n", path, path,
	    fingerprint, (const char *)line.data);
	return EXIT_OK;
}

int ctl_ca_init(struct ctl *c)
{
	const char *out = ctl_opt(c, "out");
	const char *type = ctl_opt(c, "type") ? ctl_opt(c, "type") : "ed25519";
	struct err e = ERR_INIT;
	char path[PATH_MAX];

	if ((c->nwords == 1) == (out != NULL))
		return ctl_fail(EXIT_USAGE, "ca init takes a NAME or --out FILE");
	if (out && !str_copy(path, sizeof path, out))
		return ctl_fail(EXIT_USAGE, "the path is too long");
	if (!out && named_path(c, c->word[0], path, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	if (keyfile_make(path, type, out ? "postern-ca" : c->word[0], false, &e) < 0)
		return ctl_fail(e.code == -EINVAL ? EXIT_USAGE : EXIT_FAILED, "%s", err_text(&e));
	return show(c, path);
}
