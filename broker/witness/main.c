#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/supervisor/sockets.h"
#include "broker/witness/http.h"
#include "broker/witness/judge.h"
#include "broker/witness/key.h"
#include "broker/witness/state.h"
#include "broker/witness/trust.h"
#include "filters.h"
#include "lib/buf.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * postern-witness listen=HOST:PORT state=DIR [name=NAME] [log=KEY]... [logs=FILE] [tls-cert=FILE
 *     tls-key=FILE] [user=NAME]
 *
 * What `postern witness` becomes. As root it opens what only root can, then takes the user's ids;
 * then its state directory and its sockets are all that it has.
 */

#define USER      "postern-witness"
#define PEM_MAX   (64u * 1024)
#define FILE_MAX  (64u * 1024) /* the greatest file that it writes */
#define SPARE_FDS 32

struct args {
	const char *listen, *state, *name, *logs, *cert, *key, *user;
};

struct process {
	struct witness_state state;
	struct witness_key key;
	struct trust *trust;
	struct witness witness;
	struct http *http;
	struct buf cert, cert_key; /* PEM, NUL-terminated */
	uid_t uid;                 /* (uid_t)-1: as we are */
	gid_t gid;
	int stop;
	char address[SOCKETS_ADDRESS_MAX];
};

/* ---- arguments ---- */

static int parse_args(int argc, char **argv, struct args *a, struct trust *t, struct err *e)
{
	const struct {
		const char *name;
		const char **value;
	} known[] = {{"listen=", &a->listen}, {"state=", &a->state}, {"name=", &a->name},
	    {"logs=", &a->logs}, {"tls-cert=", &a->cert}, {"tls-key=", &a->key},
	    {"user=", &a->user}};
	int r;

	for (int i = 1; i < argc; i++) {
		bool found = false;

		if (strncmp(argv[i], "log=", 4) == 0) {
			if ((r = trust_add(t, argv[i] + 4, strlen(argv[i] + 4), e)) < 0)
				return r;
			continue;
		}
		for (size_t k = 0; k < ARRAY_LEN(known); k++) {
			size_t n = strlen(known[k].name);

			if (strncmp(argv[i], known[k].name, n) != 0 || argv[i][n] == '\0')
				continue;
			*known[k].value = argv[i] + n;
			found = true;
		}
		if (!found)
			return err_set(e, -EINVAL, "bad argument %d", i);
	}
	if (!a->listen || !a->state)
		return err_set(e, -EINVAL, "listen= and state= are needed");
	if (!a->cert != !a->key)
		return err_set(e, -EINVAL, "a certificate and its key go together");
	return 0;
}

static int read_logs(const char *path, struct trust *t, struct err *e)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, TRUST_FILE_MAX);
	if ((r = fd_read_file(AT_FDCWD, path, TRUST_FILE_MAX, &b, e)) < 0)
		return r;
	r = trust_add_text(t, (const char *)b.data, b.len, e);
	return r < 0 ? err_wrap(e, r, "%s", path) : 0;
}

static int read_pem(const char *path, struct buf *b, struct err *e)
{
	int r;

	buf_init(b, PEM_MAX + 1);
	if (!path)
		return 0;
	if ((r = fd_read_file(AT_FDCWD, path, PEM_MAX, b, e)) < 0)
		return r;
	return buf_cstr(b) ? 0 : err_set(e, -ENOMEM, "no memory");
}

/* Whom to become: what a witness does needs no root. */
static int find_user(struct process *p, const char *name, struct err *e)
{
	const struct passwd *pw;

	p->uid = (uid_t)-1;
	p->gid = (gid_t)-1;
	if (geteuid() != 0)
		return name ? err_set(e, -EPERM, "only root can become another user") : 0;
	pw = getpwnam(name ? name : USER);
	if (!pw)
		return err_set(e, -ENOENT,
		    name ? "there is no user %s" : "there is no user %s: name one by --user",
		    name ? name : USER);
	if (pw->pw_uid == 0)
		return err_set(e, -EPERM, "a witness does not run as root");
	p->uid = pw->pw_uid;
	p->gid = pw->pw_gid;
	return 0;
}

/* ---- start ---- */

static int drop_root(struct process *p)
{
	int r;

	if ((r = confine_basics()) < 0)
		return r;
	if (p->uid == (uid_t)-1)
		return confine_caps(0);
	/* in this order: the bounding set falls while there is CAP_SETPCAP */
	if ((r = confine_caps(UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID)) < 0 ||
	    (r = confine_ids(p->uid, p->gid)) < 0)
		return r;
	return confine_caps(0);
}

static int open_key(struct process *p, const char *name, struct err *e)
{
	int r = witness_key_load(p->state.dir, name, &p->key, e);

	if (r != -ENOENT)
		return r;
	if (!name)
		return err_set(e, -EINVAL, "the witness has no key yet: name it by --name");
	*e = (struct err)ERR_INIT;
	return witness_key_make(p->state.dir, name, &p->key, e);
}

/* libcrypto reads files and seeds itself at first use: let that be now. */
static int warm_up(struct process *p, struct err *e)
{
	static const char text[] = "warm\n";
	cleanup_buf struct buf b;

	buf_init(&b, 1024);
	return note_sign(text, strlen(text), &p->key.public, secret_data(p->key.seed), 0, &b, e);
}

static int lock_in(struct process *p, struct err *e)
{
	const struct confine_limits limits = {.open_files = HTTP_CONNECTIONS + SPARE_FDS,
	    .memory = 0,
	    .cpu_s = 0,
	    .processes = 0,
	    .file_bytes = FILE_MAX};
	const struct confine_path path = {p->state.dir, 1};
	int abi, r;

	if ((r = confine_limits(&limits)) < 0)
		return err_set(e, r, "cannot set limits: %s", strerror(-r));
	r = confine_landlock(&path, 1, &abi);
	if (r == -ENOSYS)
		log_warn("this kernel has no Landlock: uid and seccomp alone confine the witness");
	else if (r < 0)
		return err_set(e, r, "cannot confine itself: %s", strerror(-r));
	r = confine_seccomp(filter_witness, ARRAY_LEN(filter_witness));
	return r < 0 ? err_set(e, r, "cannot confine itself: %s", strerror(-r)) : 0;
}

/* A signal ends it between two requests; a peer that is gone is no signal. */
static int catch_signals(struct process *p, struct err *e)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	p->stop = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	(void)sigaddset(&set, SIGPIPE);
	if (p->stop < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_set(e, -errno, "cannot watch for signals: %m");
	return 0;
}

static int start(struct process *p, const struct args *a, struct err *e)
{
	struct http_config c = {-1, NULL, NULL};
	int r;

	if ((r = find_user(p, a->user, e)) < 0 ||
	    (a->logs && (r = read_logs(a->logs, p->trust, e)) < 0) ||
	    (r = read_pem(a->cert, &p->cert, e)) < 0 || (r = read_pem(a->key, &p->cert_key, e)) < 0)
		return r;
	if (trust_count(p->trust) == 0)
		return err_set(e, -EINVAL, "no log is known: name some by --log or --logs");
	if ((r = witness_state_open(&p->state, a->state, true, p->uid, p->gid, e)) < 0 ||
	    (r = witness_state_lock(&p->state, e)) < 0 ||
	    (r = sockets_tcp(a->listen, &c.listen, p->address, e)) < 0)
		return r;
	if ((r = drop_root(p)) < 0)
		return err_set(e, r, "cannot give up root's rights: %s", strerror(-r));
	if ((r = catch_signals(p, e)) < 0 || (r = open_key(p, a->name, e)) < 0 ||
	    (r = warm_up(p, e)) < 0)
		return r;
	p->witness = (struct witness){&p->state, &p->key, p->trust, 0};
	if ((r = witness_begin(&p->witness)) < 0)
		return err_set(e, r, "cannot read what was seen");
	if (a->cert) {
		c.cert = (const char *)p->cert.data;
		c.key = (const char *)p->cert_key.data;
	}
	if (!(p->http = witness_http_new(&c, &p->witness, e)))
		return e->code;
	return lock_in(p, e);
}

static void announce(const struct process *p, bool tls)
{
	cleanup_buf struct buf b;

	buf_init(&b, 1024);
	note_key_format(&p->key.public, &b);
	if (!buf_cstr(&b))
		return;
	(void)printf(
	    "witness at http%s://%s/\nkey: %s\n", tls ? "s" : "", p->address, (const char *)b.data);
	(void)fflush(stdout);
}

static void end(struct process *p)
{
	witness_http_free(p->http);
	witness_key_done(&p->key);
	witness_state_close(&p->state);
	trust_free(p->trust);
	buf_done(&p->cert);
	buf_done(&p->cert_key);
	util_close(&p->stop);
}

int main(int argc, char **argv)
{
	struct process p = {.state = {-1, -1, -1, -1}, .stop = -1};
	struct err e = ERR_INIT;
	struct args a = {0};
	int r;

	log_open("postern-witness", LOG_INFO);
	(void)umask(077);
	if (!(p.trust = trust_new())) {
		log_error("no memory");
		return 1;
	}
	if ((r = parse_args(argc, argv, &a, p.trust, &e)) < 0) {
		log_error("%s", err_text(&e));
		end(&p);
		return 2;
	}
	if ((r = confine_fds(NULL, 0)) == 0 && (r = start(&p, &a, &e)) == 0) {
		announce(&p, a.cert != NULL);
		r = http_run(p.http, p.stop);
	}
	if (r < 0)
		log_error("%s", e.code != 0 ? err_text(&e) : strerror(-r));
	end(&p);
	return r < 0 ? 1 : 0;
}
