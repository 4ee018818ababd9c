/*
 * The question that pam_postern asks the core: this user with this certificate from there, what
 * now?
 *
 * It runs inside sshd's privileged process: no global state, no signals, no descriptor without
 * CLOEXEC, nothing that could end the process, and an end to all waiting.
 *
 * Must not know libpam. Depends on lib and pam/dial.
 */
#ifndef POSTERN_PAM_QUERY_H
#define POSTERN_PAM_QUERY_H

#include <stddef.h>
#include <stdint.h>

struct chan;
struct err;

#define QUERY_SECONDS     5
#define QUERY_USER_MAX    256
#define QUERY_SESSION_MAX 36

struct query {
	const char *socket; /* path */
	const char *user;   /* the Unix account */
	const void *key;    /* the certificate's wire form */
	size_t key_len;
	const char *peer; /* numeric address */
	int64_t deadline_ns;
};

struct query_answer {
	struct chan *chan; /* the session lives as long as its process and this socket do */
	int procs;         /* cgroup.procs of the cgroup that ties processes to the session */
	char session[QUERY_SESSION_MAX + 1];
};

/* Copies the address without a zone ("%eth0"). 0, or -EINVAL if it is no numeric IP address, as
 * sshd gives with `UseDNS yes`. dst needs QUERY_PEER_MAX bytes. */
#define QUERY_PEER_MAX 64
int query_peer(char *dst, const char *rhost, struct err *e);

/* 0, and the answer is the caller's (query_done()); -EACCES: denied, e has "REASON (record N)",
 * escaped; other errors: the core could not be asked, e says why. */
int query_open(const struct query *q, struct query_answer *ret, struct err *e);
/* Tells the core that the session ends. */
void query_close(struct query_answer *a);
/* Closes what is there, telling nobody. */
void query_done(struct query_answer *a);

#endif
