/*
 * The state directories (ARCHITECTURE.md, "Files on disk"), made where they are missing, with the
 * owners that the id range gives them, and held open.
 */
#ifndef POSTERN_SUPERVISOR_DIRS_H
#define POSTERN_SUPERVISOR_DIRS_H

struct err;
struct settings;

struct dirs {
	int state, config, run;
	int core, keys, spawn, workspaces, hostkeys, export, archive;
	int libexec; /* where this program lies, and the daemons beside it */
};

void dirs_init(struct dirs *d); /* all -1 */
void dirs_done(struct dirs *d);
/* Opens config and libexec, which must exist. */
int dirs_open(struct dirs *d, const struct settings *s, struct err *e);
/* Makes and opens the others. Where a directory had another owner (the range was moved), the
 * regular files in it follow. */
int dirs_make(struct dirs *d, const struct settings *s, struct err *e);

#endif
