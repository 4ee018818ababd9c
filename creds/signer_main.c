#include "creds/signer.h"

#include <jansson.h>
#include <linux/capability.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/socket.h>

#include "creds/key_file.h"
#include "creds/sealer.h"
#include "filters.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/chan_loop.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * postern-signer uid=N gid=N keys=FD [issuer=URL]; fd 3 is the link to the supervisor.
 *
 * It takes its uid and locks itself in before it reads a message; then its own key directory and
 * the two links are all it has.
 */

#define SUPERVISOR_FD 3
#define RATE          50 /* tokens per second and tenant */
#define BURST         200

struct args {
	uint64_t uid, gid, keys;
	const char *issuer;
};

struct process {
	struct loop *loop;
	struct signer *signer;
	struct chan *supervisor, *core;
	struct loop_source *supervisor_src, *core_src;
};

static int parse_args(int argc, char **argv, struct args *a)
{
	*a = (struct args){0, 0, 0, "postern"};
	for (int i = 1; i < argc; i++) {
		int r = -EINVAL;

		if (strncmp(argv[i], "uid=", 4) == 0)
			r = str_to_u64(argv[i] + 4, 1, UINT32_MAX - 1, &a->uid);
		else if (strncmp(argv[i], "gid=", 4) == 0)
			r = str_to_u64(argv[i] + 4, 1, UINT32_MAX - 1, &a->gid);
		else if (strncmp(argv[i], "keys=", 5) == 0)
			r = str_to_u64(argv[i] + 5, SUPERVISOR_FD + 1, 1023, &a->keys);
		else if (strncmp(argv[i], "issuer=", 7) == 0)
			r = argv[i][7] != '\0' ? 0 : -EINVAL;
		if (r < 0) {
			log_error("bad argument %d", i);
			return r;
		}
		if (strncmp(argv[i], "issuer=", 7) == 0)
			a->issuer = argv[i] + 7;
	}
	if (a->uid == 0 || a->gid == 0 || a->keys == 0) {
		log_error("usage: postern-signer uid=N gid=N keys=FD [issuer=URL] (started by the "
		          "supervisor)");
		return -EINVAL;
	}
	return 0;
}

/* libcrypto and jansson read files and seed themselves at first use: let that be now. */
static int warm_up(void)
{
	struct key_private *k = NULL;
	int r;

	if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		return -EIO;
	json_object_seed(0);
	r = key_secure_heap();
	if (r < 0)
		return r;
	r = key_private_generate(KEY_ECDSA_256, 0, &k, NULL); /* signs and verifies, too */
	key_private_free(k);
	return r;
}

static int confine(const struct args *a)
{
	const struct confine_limits limits = {.open_files = 64,
	    .memory = 0,
	    .cpu_s = 0,
	    .processes = 0,
	    .file_bytes = SEALER_FILE_BYTES};
	const struct confine_path path = {(int)a->keys, 1};
	int abi, r;

	/* in this order: the bounding set falls while there is CAP_SETPCAP */
	if ((r = confine_basics()) < 0 ||
	    (r = confine_caps(UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID)) < 0 ||
	    (r = confine_ids((uid_t)a->uid, (gid_t)a->gid)) < 0 || (r = confine_caps(0)) < 0 ||
	    (r = confine_limits(&limits)) < 0)
		return r;
	r = confine_landlock(&path, 1, &abi);
	if (r == -ENOSYS)
		log_warn("this kernel has no Landlock: uid and seccomp alone confine the signer");
	else if (r < 0)
		return r;
	return confine_seccomp(filter_signer, ARRAY_LEN(filter_signer));
}

static void core_gone(struct process *p)
{
	loop_remove(p->core_src);
	p->core_src = NULL;
	chan_free(p->core);
	p->core = NULL;
}

static int answer(struct msg *m, void *arg)
{
	struct process *p = arg;
	const char *type;
	json_t *body;
	int r = signer_handle(p->signer, m, &type, &body);

	if (r == 0)
		r = chan_send(p->core, type, m->id, body, NULL, 0);
	if (r < 0)
		log_warn("cannot answer the core: %s", strerror(-r));
	return r;
}

static void on_core(struct loop *l, int fd, unsigned what, void *arg)
{
	struct process *p = arg;
	struct err e = ERR_INIT;
	int r = chan_serve(p->core, p->core_src, what, answer, p, &e);

	(void)l;
	(void)fd;
	if (r < 0)
		log_warn("the core broke a rule: %s", err_text(&e));
	if (r != 1)
		core_gone(p);
}

static int take_core(struct process *p, struct msg *m)
{
	if (p->core)
		core_gone(p);
	p->core = chan_new(msg_take_fd(m, 0), MSG_SIGNER, MSG_CORE);
	if (!p->core)
		return -errno;
	p->core_src = loop_fd(p->loop, chan_fd(p->core), LOOP_READ, on_core, p);
	return p->core_src ? 0 : -errno;
}

static int obey(struct msg *m, void *arg)
{
	int r;

	if (msg_is(m, "core.link") && (r = take_core(arg, m)) < 0) {
		log_error("cannot take the core's link: %s", strerror(-r));
		return r;
	}
	return msg_is(m, "shutdown");
}

/* Nobody outlives the supervisor. */
static void on_supervisor(struct loop *l, int fd, unsigned what, void *arg)
{
	struct process *p = arg;
	struct err e = ERR_INIT;

	(void)fd;
	if (chan_serve(p->supervisor, p->supervisor_src, what, obey, p, &e) != 1)
		loop_stop(l);
}

static int run(const struct args *a)
{
	struct process p = {0};
	struct err e = ERR_INIT;
	const struct signer_config c = {(int)a->keys, a->issuer, RATE, BURST};
	int r;

	p.loop = loop_new();
	p.signer = signer_new(&c, &e);
	p.supervisor = chan_new(SUPERVISOR_FD, MSG_SIGNER, MSG_SUPERVISOR);
	if (!p.loop || !p.signer || !p.supervisor) {
		log_error("cannot start: %s", e.code != 0 ? err_text(&e) : strerror(errno));
		return -ENOMEM;
	}
	r = confine(a);
	if (r < 0) {
		log_error("cannot confine itself: %s", strerror(-r));
		return r;
	}
	p.supervisor_src = loop_fd(p.loop, SUPERVISOR_FD, LOOP_READ, on_supervisor, &p);
	if (!p.supervisor_src)
		return -errno;
	r = chan_send(p.supervisor, "ready", 0, json_object(), NULL, 0);
	if (r == 0)
		r = loop_run(p.loop);
	if (p.core)
		core_gone(&p);
	loop_remove(p.supervisor_src);
	chan_free(p.supervisor);
	signer_free(p.signer);
	loop_free(p.loop);
	return r;
}

int main(int argc, char **argv)
{
	struct args a;
	int keep[2] = {SUPERVISOR_FD, -1};

	log_open("postern-signer", LOG_INFO);
	if (parse_args(argc, argv, &a) < 0)
		return 2;
	keep[1] = (int)a.keys;
	if (confine_fds(keep, ARRAY_LEN(keep)) < 0 || warm_up() < 0) {
		log_error("libcrypto does not work");
		return 1;
	}
	return run(&a) < 0 ? 1 : 0;
}
