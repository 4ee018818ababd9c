/*
 * What a bench compares the log with: LMDB alone, with records as long as the log's, in as many
 * commits. One environment; whatever fails ends the program.
 */
#ifndef POSTERN_TESTS_SUPPORT_BARE_LMDB_H
#define POSTERN_TESTS_SUPPORT_BARE_LMDB_H

#include <stddef.h>
#include <stdint.h>

#define BARE_MAP         (UINT64_C(64) << 30)
#define BARE_COMMAND_LEN 120

void bare_open(const char *dir);
void bare_close(void);
/* Commands are of all lengths around COMMAND_LEN: how many records of one length fit into a page is
 * luck, on either side. */
size_t bare_command_len(uint64_t i);
/* n records of around len bytes, `group` a commit; records a second. */
double bare_run(size_t n, size_t group, size_t len);

#endif
