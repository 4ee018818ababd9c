/* The configuration again, whole or not at all. */
#include <string.h>

#include "broker/core/capacity.h"
#include "broker/core/config.h"
#include "broker/core/core.h"
#include "broker/core/core_seal.h"
#include "broker/core/export.h"
#include "broker/core/handlers.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/str.h"

/*
 * The configuration, again. Nothing of it is held by anything that lives: a grant has its own copy
 * of what it allows, with the digest of the file it came from, so a swap changes what comes, not
 * what is.
 */
int core_reload(struct core *c, const char *by, struct err *e)
{
	struct config *fresh = NULL;
	char hex[DIGEST_HEX_LEN + 1];
	struct host_capacity host;
	int r = config_load(c->config_fd, &fresh, e);

	capacity_read(c->proc_fd, &host);
	if (r == 0 && ((r = config_check_hostkey(fresh, c->hostkey, e)) < 0 ||
	                  (r = capacity_check(fresh, &host, e)) < 0))
		config_free(fresh);

	if (r < 0) {
		char shown[ERR_TEXT_MAX];

		str_escape(shown, sizeof shown, err_text(e), strlen(err_text(e)));
		(void)note(c, "config.refused", NULL, NULL,
		    json_pack("{s:s, s:s}", "by", by, "reason", shown));
		return r;
	}
	config_free(c->config);
	c->config = fresh;
	c->config_loaded_ns = clock_wall_ns();
	core_seal_reloaded(c);
	export_reloaded(c);
	spawn_prepare(c);
	hex_encode(hex, fresh->digest, DIGEST_LEN);
	log_info("configuration %.12s: %zu tenants, %zu templates", hex, fresh->ntenants,
	    fresh->ntemplates);
	return note(c, "config.loaded", NULL, NULL,
	    json_pack("{s:s, s:s, s:I, s:I}", "by", by, "digest", hex, "tenants",
	        (json_int_t)fresh->ntenants, "templates", (json_int_t)fresh->ntemplates));
}
