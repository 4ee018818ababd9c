#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "creds/key.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"

/* Small words to a running Postern: reload, clock ack, jwks, host-key. */

int ctl_reload(struct ctl *c)
{
	json_auto_t *data = NULL;
	char text[128];
	int code = ctl_query(c, "ctl.reload", json_object(), &data);

	if (code != EXIT_OK || c->json)
		return code != EXIT_OK ? code : ctl_json(data);
	field_print(stdout, "configuration", json_text(data, "digest", text, sizeof text));
	field_print(stdout, "tenants", json_text(data, "tenants", text, sizeof text));
	field_print(stdout, "templates", json_text(data, "templates", text, sizeof text));
	return EXIT_OK;
}

int ctl_clock_ack(struct ctl *c)
{
	json_auto_t *data = NULL;
	char text[128];
	int code = ctl_query(c, "ctl.clock", json_object(), &data);

	if (code != EXIT_OK || c->json)
		return code != EXIT_OK ? code : ctl_json(data);
	field_print(stdout, "clock", json_text(data, "clock", text, sizeof text));
	return EXIT_OK;
}

int ctl_jwks(struct ctl *c)
{
	json_auto_t *data = NULL;
	int code = ctl_query(c, "ctl.jwks", json_pack("{s:s}", "tenant", c->word[0]), &data);

	return code != EXIT_OK ? code : ctl_json(json_object_get(data, "jwks"));
}

int ctl_host_key(struct ctl *c)
{
	cleanup_key struct key *k = NULL;
	cleanup_buf struct buf line;
	struct err e = ERR_INIT;
	char path[PATH_MAX], fingerprint[KEY_FINGERPRINT_LEN];
	json_t *o;

	buf_init(&line, 16384);
	ctl_path(c, "hostkeys/ssh_host_ed25519_key.pub",
	    "/var/lib/postern/hostkeys/ssh_host_ed25519_key.pub", path);
	if (fd_read_file(AT_FDCWD, path, 16384, &line, &e) < 0 ||
	    key_parse_line((const char *)line.data, line.len, &k, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s: %s", path, err_text(&e));
	if (!c->json) {
		(void)fwrite(line.data, 1, line.len, stdout);
		return EXIT_OK;
	}
	while (line.len > 0 && line.data[line.len - 1] == '\n')
		line.len--;
	o = json_pack("{s:s%, s:s}", "key", line.data, line.len, "fingerprint",
	    key_fingerprint(k, fingerprint));
	(void)ctl_json(o);
	json_decref(o);
	return EXIT_OK;
}
