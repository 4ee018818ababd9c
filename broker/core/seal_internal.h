/*
 * What the files of the sealing share. Nobody else includes it.
 *
 *   seal.c         which log is next; what the signer is asked, and who gets its answer
 *   seal_time.c    when: every few seconds, soon, after silence, at the end
 *   seal_sign.c    one seal
 *   seal_epoch.c   a new epoch
 *   seal_break.c   a store that was set back
 *   seal_learn.c   what the signer knows, against the store
 *   seal_view.c    what others may ask
 */
#ifndef POSTERN_CORE_SEAL_INTERNAL_H
#define POSTERN_CORE_SEAL_INTERNAL_H

#include "broker/core/seal.h"
#include "creds/sealer.h"

struct seal_log {
	char name[NAME_MAX_LEN + 1];
	uint32_t number;
	bool stored;              /* is in the store */
	bool known;               /* the signer has sealed it */
	bool wanted;              /* in this round */
	bool noted;               /* in this turn */
	bool rolled;              /* what was sealed is not there */
	bool accepted;            /* and an operator knows */
	bool owed;                /* it was set back, and the note was not kept */
	bool refused;             /* the signer makes no break for it */
	uint8_t root[DIGEST_LEN]; /* of what the signer has sealed last */
	uint64_t size;            /* as committed, when last looked at */
	uint64_t sealed;          /* size of its newest checkpoint in the store */
	uint64_t last;            /* what the signer has sealed last */
	uint64_t asked;           /* the size in the question */
	uint8_t asked_root[DIGEST_LEN];
	int64_t sealed_boot_ns;        /* 0: not since we started */
	uint64_t epoch;                /* that sealed it, if we saw it */
	char why[SEAL_REASON_MAX + 1]; /* why it is not sealed */
};

enum seal_turning { TURN_NONE, TURN_WANTED, TURN_NOTES, TURN_ASKED };

struct ticket { /* a record that is waiting for its commit; outlives us */
	struct ticket *next;
	struct seal *seal; /* NULL: gone */
};

struct seal {
	struct seal_env env;
	char origin[SEALER_ORIGIN_MAX + 1];
	bool linked, learned, round, round_later, started, in_step, breaking, following;
	enum seal_turning turn;
	seal_turn_fn turn_done;
	void *turn_arg;
	void (*finish)(void *arg);
	void *finish_arg;
	uint64_t question;      /* 0: none */
	struct seal_log *asked; /* the log it is about; NULL: of all */
	size_t pending;         /* tickets */
	struct ticket *tickets;
	struct loop_source *tick, *soon, *late, *end;
	int64_t born_boot_ns, round_boot_ns, idle_boot_ns, turned_s;
	uint64_t epoch;
	uint8_t log_key[NOTE_KEY_LEN], epoch_key[NOTE_KEY_LEN], first_key[NOTE_KEY_LEN];
	char why[SEAL_REASON_MAX + 1];   /* why the signer seals nothing */
	char alarm[SEAL_REASON_MAX + 1]; /* what is not there; "" */
	bool accepted;
	bool more; /* logs than can be sealed */
	size_t nlogs;
	struct seal_log logs[SEALER_LOGS_MAX];
};

struct seal_log *seal_find(struct seal *s, const char *name, bool add);
/* Looks at the store. */
void seal_refresh(struct seal *s);
/* Asks the signer; l may be NULL. body is taken over. */
int seal_ask(struct seal *s, const char *type, json_t *body, struct seal_log *l);
/* Records; the commit is waited for. tenant: the log's name, or NULL for the host's. */
void seal_record(struct seal *s, const char *class_name, const char *tenant, json_t *body);
/* Goes on with whatever is next. */
void seal_step(struct seal *s);
void seal_round(struct seal *s);
/* The signer is asked nothing more of what was under way. */
void seal_give_up(struct seal *s, const char *why);
void seal_finish_now(struct seal *s);
bool seal_is_host(const struct seal_log *l);

/* seal_time.c: all timers; -ENOMEM. */
int seal_timers(struct seal *s);
/* seal_sign.c: whether it was asked for; its answer; that it cannot be. */
bool seal_sign(struct seal *s, struct seal_log *l);
void seal_signed(struct seal *s, struct seal_log *l, const struct msg *m);
void seal_unsealed(struct seal *s, struct seal_log *l, const char *why);
/* seal_learn.c: what the signer knows, compared with the store. */
void seal_learn(struct seal *s, const struct msg *m);
/* seal_break.c: whether it was accepted that what was sealed last is gone; that it is. */
bool seal_break_accepted(const struct seal *s, const struct seal_log *l);
int seal_break_accept(struct seal *s);
bool seal_break_step(struct seal *s); /* whether something was asked or is waited for */
void seal_break_signed(struct seal *s, const struct msg *m);
/* seal_epoch.c */
bool seal_epoch_step(struct seal *s); /* whether something was asked, or there is nothing left */
void seal_epoch_noted(struct seal *s, const struct msg *m);
void seal_epoch_turned(struct seal *s, const struct msg *m);
void seal_epoch_failed(struct seal *s, int r, const char *why);
/* Whether the signer is behind what it has signed, and was asked to follow. */
bool seal_epoch_follow(struct seal *s);
bool seal_epoch_due(const struct seal *s);

#endif
