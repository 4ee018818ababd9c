/*
 * A store of an older Postern becomes one of STORE_SCHEMA. Of schema 1 (one chain, of records of v
 * 1): its records are the first of the host's log, as they are, and leaves of its tree. In steps of
 * bounded transactions; one that was interrupted goes on where it was. Schema 3 has
 * the heads in the file's main database, and more databases than 2.
 */
#ifndef POSTERN_AUDIT_RECORD_MIGRATE_H
#define POSTERN_AUDIT_RECORD_MIGRATE_H

struct err;
struct store;

/* 0 (also when there is nothing to do), -EUCLEAN: the old chain does not hold; nothing has been
 * changed then. */
int record_migrate(struct store *s, struct err *e);

#endif
