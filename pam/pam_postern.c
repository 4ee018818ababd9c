/*
 * pam_postern.so: lets a stock sshd ask the core, and binds the session to the PAM session.
 *
 * The decision falls in open_session, where sshd (9.2) names the certificate that it verified. The
 * account stage can only refuse: there the variable is still empty, and emptiness says nothing.
 *
 * This is code inside sshd's privileged process, which forks without exec for the session's user.
 * So: what is held is held in the PAM handle; a fork that ends the handle does not end the session;
 * nothing here exits, installs a handler, or waits without an end.
 */
#include <errno.h>
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"
#include "pam/authinfo.h"
#include "pam/cgroup.h"
#include "pam/denial.h"
#include "pam/dial.h"
#include "pam/query.h"

#define HELD "postern_session"
#define ARG  "socket="

/* What lasts from open_session to close_session. */
struct held {
	struct query_answer answer;
	pid_t pid; /* who entered; its forks share the descriptors but not the session */
	char home[CGROUP_PATH_MAX];
};

/* pam_end(3), in whichever process: closes, and says nothing to the core, which sees the last copy
 * of the socket close. */
static void held_free(pam_handle_t *pamh, void *data, int status)
{
	struct held *h = data;

	(void)pamh;
	(void)status;
	query_done(&h->answer);
	free(h);
}

/* PAM hands out const void ** for what it calls items. */
static const char *item(const pam_handle_t *pamh, int type)
{
	const void *p = NULL;

	return pam_get_item(pamh, type, &p) == PAM_SUCCESS ? p : NULL;
}

static const char *socket_path(pam_handle_t *pamh, int argc, const char **argv)
{
	const char *path = DIAL_PAM_SOCKET;

	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], ARG, sizeof ARG - 1) != 0) {
			pam_syslog(pamh, LOG_ERR, "unknown option");
			return NULL;
		}
		path = argv[i] + sizeof ARG - 1;
	}
	return path;
}

/* The reason to the log and to the person. e's text is escaped or our own. */
static int refuse(pam_handle_t *pamh, int flags, const struct err *e, int status)
{
	const char *user = item(pamh, PAM_USER), *rhost = item(pamh, PAM_RHOST);
	char safe_user[128], safe_host[128];

	user = user ? user : "";
	rhost = rhost ? rhost : "";
	pam_syslog(pamh, LOG_NOTICE, "denied: user \"%s\" from \"%s\": %s",
	    str_escape(safe_user, sizeof safe_user, user, strlen(user)),
	    str_escape(safe_host, sizeof safe_host, rhost, strlen(rhost)), err_text(e));
	if (!((unsigned)flags & PAM_SILENT))
		(void)pam_error(pamh, DENIAL_PREFIX "%s", err_text(e));
	return status;
}

static int read_authinfo(pam_handle_t *pamh, struct buf *key, struct err *e)
{
	const char *text = pam_getenv(pamh, AUTHINFO_NAME);

	return authinfo_parse(text, text ? strnlen(text, AUTHINFO_TEXT_MAX + 1) : 0, key, e);
}

/* Asks, and enters the session's cgroup. On failure h holds nothing. */
static int open_and_enter(
    pam_handle_t *pamh, const char *path, const struct buf *key, struct held *h, struct err *e)
{
	char peer[QUERY_PEER_MAX];
	struct query q = {.socket = path, .user = item(pamh, PAM_USER), .peer = peer};
	int r;

	if (!q.user)
		return err_set(e, -EINVAL, "no user name");
	if ((r = query_peer(peer, item(pamh, PAM_RHOST), e)) < 0 ||
	    (r = cgroup_here(h->home, e)) < 0)
		return r;
	q.key = key->data;
	q.key_len = key->len;
	q.deadline_ns = clock_mono_ns() + QUERY_SECONDS * NSEC_PER_SEC;
	if ((r = query_open(&q, &h->answer, e)) < 0)
		return r;
	r = cgroup_enter(h->answer.procs, e);
	util_close(&h->answer.procs);
	if (r < 0) {
		(void)cgroup_return(h->home);
		query_close(&h->answer);
	}
	return r;
}

__attribute__((visibility("default"))) PAM_EXTERN int pam_sm_acct_mgmt(
    pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	cleanup_buf struct buf key;
	struct err e = ERR_INIT;
	int r;

	buf_init(&key, AUTHINFO_KEY_MAX);
	if (!socket_path(pamh, argc, argv))
		return PAM_SERVICE_ERR;
	r = read_authinfo(pamh, &key, &e);
	if (r < 0 && r != -ENODATA)
		return refuse(pamh, flags, &e, PAM_PERM_DENIED);
	return PAM_IGNORE; /* never a reason to let somebody in */
}

__attribute__((visibility("default"))) PAM_EXTERN int pam_sm_open_session(
    pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	const char *path = socket_path(pamh, argc, argv);
	cleanup_buf struct buf key;
	cleanup_free struct held *h = NULL;
	struct err e = ERR_INIT;
	const void *other = NULL;

	buf_init(&key, AUTHINFO_KEY_MAX);
	if (!path)
		return PAM_SESSION_ERR;
	if (pam_get_data(pamh, HELD, &other) == PAM_SUCCESS && other) {
		(void)err_set(&e, -EEXIST, "a session is open already");
		return refuse(pamh, flags, &e, PAM_SESSION_ERR);
	}
	h = calloc(1, sizeof *h);
	if (!h)
		return PAM_BUF_ERR;
	h->answer.procs = -1;
	h->pid = getpid();
	if (read_authinfo(pamh, &key, &e) < 0 || open_and_enter(pamh, path, &key, h, &e) < 0)
		return refuse(pamh, flags, &e, PAM_SESSION_ERR);
	if (pam_set_data(pamh, HELD, h, held_free) != PAM_SUCCESS) {
		query_close(&h->answer);
		(void)cgroup_return(h->home);
		return PAM_SESSION_ERR;
	}
	pam_syslog(pamh, LOG_INFO, "session %s opened", h->answer.session);
	(void)steal_ptr(&h); /* the PAM handle's now */
	return PAM_SUCCESS;
}

__attribute__((visibility("default"))) PAM_EXTERN int pam_sm_close_session(
    pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	const void *data = NULL;
	struct held *h;

	(void)flags;
	(void)argc;
	(void)argv;
	if (pam_get_data(pamh, HELD, &data) != PAM_SUCCESS || !data)
		return PAM_IGNORE;
	memcpy(&h, &data, sizeof h);
	if (h->pid != getpid())
		return PAM_IGNORE;
	/* out of the cgroup first: what is left in it is killed with the session */
	if (cgroup_return(h->home) < 0)
		pam_syslog(
		    pamh, LOG_WARNING, "session %s: could not leave its cgroup", h->answer.session);
	query_close(&h->answer);
	pam_syslog(pamh, LOG_INFO, "session %s closed", h->answer.session);
	(void)pam_set_data(pamh, HELD, NULL, NULL); /* frees h */
	return PAM_SUCCESS;
}
