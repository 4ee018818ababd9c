/*
 * Where whole logs come from, with their seals: a running Postern, its files, or a bundle; and the
 * keys that somebody trusts.
 */
#ifndef POSTERN_CTL_AUDIT_LOG_H
#define POSTERN_CTL_AUDIT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/audit/log_feed.h"
#include "creds/note.h"
#include "lib/str.h"

struct buf;
struct chan;
struct ctl;
struct audit_log;
struct store;

#define AUDIT_KEYS_MAX 512

/* With --file a bundle (or a segment of the archive), with --offline the files, else the running
 * Postern, and its files if none runs. For what is not there any more: the archive of --archive, or
 * but for files the one beside the log, if it may be read. EXIT_OK, or an exit status with its
 * reason said. */
int audit_log_open(struct ctl *c, struct audit_log **ret);
void audit_log_close(struct audit_log *l);
const char *audit_log_where(const struct audit_log *l); /* for people */
/* NULL: not files. */
struct store *audit_log_store(const struct audit_log *l);
/* NULL: no running Postern. */
struct chan *audit_log_link(const struct audit_log *l);

/* The names of the logs there are, the host's first; of a bundle the only one. EXIT_OK or an exit
 * status, said. fn answers EXIT_OK to go on. */
typedef int (*audit_log_fn)(const char *name, void *arg);
int audit_log_list(struct audit_log *l, audit_log_fn fn, void *arg);
/* All of one. *ret_complete: the source did not break off. */
int audit_log_feed(struct audit_log *l, const char *name, const struct log_sink *sink, void *arg,
    bool *ret_complete);
/* Whether an archive is there for this log. */
bool audit_log_archived(const struct audit_log *l, const char *name);
/* Whether records left the log while it was fed, or before that and after the archive was looked
 * at: they will be missed where they are not. The archive of a running Postern is looked at again.
 */
bool audit_log_moved(struct audit_log *l, const char *name);

/* Verifier keys: of --key (repeated), --keys FILE (what `postern audit keys` printed), log.keys in
 * the configuration directory, and when none of these says anything and a Postern runs, as that
 * tells them.
 */
struct audit_keys {
	struct note_key key[AUDIT_KEYS_MAX];
	size_t n;
	const char *from; /* for people; NULL: there are none */
	bool told;        /* by the host itself */
};
int audit_keys_load(struct ctl *c, struct audit_keys *ret); /* of options and files */
/* When there are none yet and a Postern runs: what that tells. */
int audit_keys_ask(struct audit_log *l, struct audit_keys *k);

static inline void audit_log_cleanup(struct audit_log **l)
{
	audit_log_close(*l);
}
#define cleanup_audit_log __attribute__((cleanup(audit_log_cleanup)))

#endif
