/*
 * The exporter's link to the core: questions and their answers, and the same as a walk over the
 * records or notes of a log.
 *
 * A question is answered once: by the core, or with -ECONNRESET when the link goes (a new one comes
 * from the supervisor; whoever still wants to know asks again). Callbacks run from the event loop,
 * never from within the call that asked.
 *
 * main.c hands "archive.cut" to archive_cut(struct pull *, int archive_dir, const struct msg *) of
 * broker/export/archive.h, which answers with pull_answer(m->id).
 *
 * Knows no sinks. Uses lib/loop and lib/chan.
 */
#ifndef POSTERN_EXPORT_PULL_H
#define POSTERN_EXPORT_PULL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct msg;
struct pull;

#define PULL_QUESTIONS_MAX 1024 /* that wait for an answer */
#define PULL_BATCH         1024 /* records of one answer; the core gives as many as fit */

/* r is 0 and m the answer; -EREMOTEIO: refused, with m's "reason"; -ECONNRESET and m NULL. */
typedef void (*pull_fn)(int r, const struct msg *m, void *arg);
/* What the core says by itself. m is NULL when a link has come (up) or gone. */
typedef void (*pull_said_fn)(const struct msg *m, bool up, void *arg);

struct pull *pull_new(struct loop *l, pull_said_fn said, void *arg); /* NULL without memory */
void pull_free(struct pull *p); /* without calling anybody back; NULL is fine */
/* A new link takes the place of the old one. Takes fd over. */
int pull_link(struct pull *p, int fd);
bool pull_up(const struct pull *p);
struct loop *pull_loop(const struct pull *p);

/* Takes body over. -ENOTCONN, -ENOBUFS (too many questions), -EINVAL: fn is then not called. */
int pull_ask(struct pull *p, const char *type, json_t *body, pull_fn fn, void *arg);
/* The questions and walks of this arg are not answered any more. */
void pull_forget(struct pull *p, const void *arg);
int pull_tell(struct pull *p, const char *type, json_t *body);
/* The answer to a question of the core's. */
int pull_answer(struct pull *p, uint64_t id, const char *type, json_t *body);

/* One record, or one note (then number is its size or epoch). What is not 0 ends the walk. */
typedef int (*pull_item_fn)(uint64_t number, const void *data, size_t len, void *arg);
/* The walk is over, once: 0, what the item's function said, -ENODATA (records end too early),
 * -EREMOTEIO (why: the core's reason), -EBADMSG, -ECONNRESET. */
typedef void (*pull_end_fn)(int r, const char *why, void *arg);

/* Records from .. to of a log, in order, page by page. sink: a sink's name, or "archive". */
int pull_records(struct pull *p, const char *sink, const char *log, uint64_t from, uint64_t to,
    pull_item_fn item, pull_end_fn end, void *arg);
/* The body beside a record, once, whole and unchecked; private: as in export.batch, or NULL. r is
 * -ENOENT when it is not there, else as of a walk. data and private are valid during the call. */
typedef void (*pull_body_fn)(
    int r, const char *why, const void *data, size_t len, const json_t *private, void *arg);
int pull_body(
    struct pull *p, const char *sink, const char *log, uint64_t seq, pull_body_fn fn, void *arg);
/* Notes of a kind (checkpoint, epoch, break) with a number from .. to, in order. */
int pull_notes(struct pull *p, const char *log, const char *kind, uint64_t from, uint64_t to,
    pull_item_fn item, pull_end_fn end, void *arg);

/* An element of export.notelist: u64 number, note. -EBADMSG. *ret points into data. */
int pull_note(
    const void *data, size_t len, uint64_t *ret_number, const void **ret, size_t *ret_len);

#endif
