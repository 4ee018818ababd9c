/* postern check: the files of the configuration, and what they name. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/core/capacity.h"
#include "broker/core/config.h"
#include "broker/ctl/check.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "broker/supervisor/settings.h"
#include "creds/key.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define OUTPUT_MAX (64u * 1024)

/* The gateway's part, by the gateway itself: nothing here includes its code. */
static bool gateway(struct check *k, const char *dir)
{
	char self[PATH_MAX], exe[PATH_MAX];
	const char *argv[] = {exe, "-n", dir, NULL};
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	cleanup_buf struct buf out;
	char *slash;
	int r;

	buf_init(&out, OUTPUT_MAX);
	self[n > 0 ? n : 0] = '\0';
	for (int i = 0; i < 2; i++)
		if ((slash = strrchr(self, '/')))
			*slash = '\0';
	if (snprintf(exe, sizeof exe, "%s/libexec/postern/postern-gateway", self) >= PATH_MAX ||
	    access(exe, X_OK) < 0) {
		check_add(k, CHECK_WARN, "gateway", "postern-gateway is not installed");
		return true;
	}
	r = check_run(argv, &out);
	if (r == 0) {
		check_add(k, CHECK_OK, "gateway", "its part of postern.yaml is good");
		return true;
	}
	if (!buf_cstr(&out))
		check_add(k, CHECK_BAD, "gateway", "postern-gateway -n failed (%d)", r);
	else
		check_add(k, CHECK_BAD, "gateway", "%.*s",
		    (int)strcspn((const char *)out.data, "\n"), (const char *)out.data);
	return false;
}

static void tenant(struct check *k, const struct tenant *t)
{
	char name[64], roles[256] = "";
	size_t n = 0;

	for (size_t i = 0; i < t->nroles && n < sizeof roles; i++)
		n += (size_t)snprintf(
		    roles + n, sizeof roles - n, "%s%s", i ? ", " : "", t->role[i].name);
	(void)snprintf(name, sizeof name, "tenant %s", t->name);
	check_add(
	    k, CHECK_OK, name, "%zu CA key%s, roles %s", t->ncas, t->ncas == 1 ? "" : "s", roles);
}

/* Not a fault of the file: its sessions alone are refused, and the directory may come back. */
static void template(struct check *k, const struct template *t)
{
	char name[64];
	struct stat st;

	if (t->root != PLAN_ROOT_DIRECTORY)
		return;
	(void)snprintf(name, sizeof name, "template %s", t->name);
	if (stat(t->root_path, &st) < 0)
		check_add(k, CHECK_WARN, name, "root %s: %s", t->root_path, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		check_add(k, CHECK_WARN, name, "root %s is no directory", t->root_path);
}

/* A sink without its files is tried again and again, so this is no fault of the configuration; but
 * nothing leaves by it. */
static void sinks(struct check *k, int fd, const struct config *config)
{
	for (size_t i = 0; i < config->export.nsinks; i++) {
		const struct export_sink *s = &config->export.sinks[i];
		struct err e = ERR_INIT;
		char name[64];

		(void)snprintf(name, sizeof name, "sink %s", s->name);
		if (export_config_files(fd, s, config->host.ids_base + ID_EXPORT, &e) < 0)
			check_add(k, CHECK_BAD, name, "%s", err_text(&e));
		else
			check_add(k, CHECK_OK, name, "%s to %s%s", export_kind_name(s->kind),
			    export_sink_where(s), s->personal ? ", with personal values" : "");
		for (size_t n = 0; n < s->nlogs; n++)
			if (strcmp(s->logs[n], "host") != 0 && !config_tenant(config, s->logs[n]))
				check_add(k, CHECK_WARN, name, "there is no tenant %s", s->logs[n]);
	}
}

static void witnesses(struct check *k, const struct export_config *c)
{
	if (c->nwitnesses == 0) {
		check_add(k, CHECK_WARN, "witnesses",
		    "none: who owns this host can rewrite its logs unseen");
		return;
	}
	for (size_t i = 0; i < c->nwitnesses; i++)
		check_add(k, CHECK_OK, "witness", "%s at %s", c->witnesses[i].key.name,
		    c->witnesses[i].url);
	check_add(
	    k, CHECK_OK, "witnesses", "a checkpoint needs %zu of %zu", c->quorum, c->nwitnesses);
}

static void archive(struct check *k, const struct export_config *c)
{
	char bytes[24], age[32], keep[32];

	if (!c->archive) {
		check_add(k, CHECK_OK, "archive", "none: logs stay in the store, and it grows");
		return;
	}
	check_add(k, CHECK_OK, "archive", "a log's records at %s or after %s, kept here for %s",
	    size_text(bytes, sizeof bytes, (json_int_t)c->archive_bytes),
	    span_text(age, sizeof age, c->archive_age_s),
	    c->archive_keep_s ? span_text(keep, sizeof keep, c->archive_keep_s)
	                      : "no longer than that");
}

/* Before the first start there is no host key yet. */
static int own_key(const struct ctl *c, const struct config *config, struct err *e)
{
	char path[PATH_MAX], fingerprint[KEY_FINGERPRINT_LEN];
	cleanup_key struct key *key = NULL;
	cleanup_buf struct buf line;
	const char *text;

	buf_init(&line, KEY_BLOB_MAX * 2);
	ctl_path(c, "hostkeys/ssh_host_ed25519_key.pub",
	    "/var/lib/postern/hostkeys/ssh_host_ed25519_key.pub", path);
	if (fd_read_file(AT_FDCWD, path, KEY_BLOB_MAX * 2, &line, NULL) < 0 ||
	    !(text = buf_cstr(&line)) || key_parse_line(text, strcspn(text, "\n"), &key, NULL) < 0)
		return 0;
	return config_check_hostkey(config, key_fingerprint(key, fingerprint), e);
}

static int room(const struct config *config, struct err *e)
{
	cleanup_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct host_capacity host;

	capacity_read(proc, &host);
	return capacity_check(config, &host, e);
}

bool check_config(struct check *k, const struct ctl *c, const char *dir, int *ret_fd)
{
	cleanup_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_config struct config *config = NULL;
	struct err e = ERR_INIT;
	json_t *summary;

	if (fd < 0) {
		check_add(k, CHECK_BAD, "configuration", "%s: %s", dir, strerror(errno));
		return false;
	}
	if (config_load(fd, &config, &e) < 0) {
		check_add(k, CHECK_BAD, "configuration", "%s", err_text(&e));
		return false;
	}
	if (own_key(c, config, &e) < 0 || room(config, &e) < 0) {
		check_add(k, CHECK_BAD, "configuration", "%s", err_text(&e));
		return false;
	}
	check_add(k, CHECK_OK, "configuration", "%s: tenants %zu, templates %zu", dir,
	    config->ntenants, config->ntemplates);
	for (size_t i = 0; i < config->ntenants; i++)
		tenant(k, &config->tenant[i]);
	for (size_t i = 0; i < config->ntemplates; i++)
		template(k, &config->template[i]);
	sinks(k, fd, config);
	witnesses(k, &config->export);
	archive(k, &config->export);
	if (c->json && (summary = config_summary(config)))
		(void)json_array_append_new(
		    k->list, json_pack("{s:s, s:s, s:o}", "check", "summary", "result", "ok",
		                 "detail", summary));
	*ret_fd = steal_fd(&fd);
	return gateway(k, dir);
}
