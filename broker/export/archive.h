/*
 * Cuts a segment of a log into the archive, as the core asks (archive.cut): pulls the records,
 * their seals and the epochs, writes STATE/archive/LOG-FROM-TO.plog.zst
 * (broker/audit/segment_file.h), reads it back, builds its tree from what it read, and only then
 * gives it its name and answers archive.written; or archive.failed, with nothing left behind.
 *
 * What the core gets is the digest of the file and the root of the tree: it holds the root against
 * its own. Reading back takes its time in slices, so that sinks go on meanwhile.
 */
#ifndef POSTERN_EXPORT_ARCHIVE_H
#define POSTERN_EXPORT_ARCHIVE_H

struct msg;
struct pull;

#define ARCHIVE_TMP "cut.tmp"
#define ARCHIVE_SUPERSEDED                                                                         \
	".superseded" /* behind the name of a segment of a history that is lost */
#define ARCHIVE_MODE 0640

/* Answers by pull_answer(m->id); one at a time, as the core asks. directory is borrowed and stays
 * open. */
void archive_cut(struct pull *p, int directory, const struct msg *m);

#endif
