/*
 * For tests of pam_postern.so: a core that takes one connection, gives one answer, and keeps what
 * it was asked. Every function asserts (cmocka).
 */
#ifndef POSTERN_TESTS_SUPPORT_PAM_CORE_H
#define POSTERN_TESTS_SUPPORT_PAM_CORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct chan;

#define PAM_CORE_SESSION "01890a5d-ac96-774b-bcce-b302099a8057"

enum pam_answer { OPENED, DENIED, SILENT, HANGS_UP, NO_CGROUP, NONSENSE };

struct pam_core {
	char dir[64], socket[96], cgroup[128]; /* set by the test */
	int listener;
	enum pam_answer answer;
	pthread_t thread;
	struct chan *chan;
	char user[64], peer[64], key[256];
	size_t key_len;
	bool asked;
};

extern struct pam_core pam_core;

/* Listens, seen by clients as this uid. */
void pam_core_listen(uid_t as);
void pam_core_start(enum pam_answer how);
void pam_core_stop(void);
/* What it hears next within five seconds: a message's name, "" for a close. */
const char *pam_core_heard(void);

#endif
