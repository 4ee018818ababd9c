/*
 * What `postern backup` and `postern restore` share. A backup is a tar (broker/ctl/tarfile.h) of
 *
 *   etc/...      the configuration, file by file, without what others may not read
 *   log.keys     the verifier keys that the running Postern told, if one ran
 *   data.mdb     the store, without its free pages
 *   MANIFEST     JSON: format, version, time, and size and SHA-256 of each file before it; last
 *
 * The keys of the host are in none of them: they go to a file of their own (creds/vault.h), in
 * which each frame is string path, u32 mode, content; paths begin with hostkeys/, keys/ or ca/.
 */
#ifndef POSTERN_CTL_BACKUP_H
#define POSTERN_CTL_BACKUP_H

#include <stdint.h>
#include <sys/types.h>

#include "broker/ctl/state_dir.h"
#include "broker/ctl/tarfile.h"
#include "lib/digest.h"

struct secret;

#define BACKUP_FORMAT     1
#define BACKUP_MANIFEST   "MANIFEST"
#define BACKUP_KEYS       "log.keys"
#define BACKUP_STORE      "data.mdb"
#define BACKUP_TEXT_MAX   (1u << 20) /* of a file of the configuration, and of the manifest */
#define BACKUP_WALK_DEPTH 3

/* Every regular file below dir, of at most max bytes, opened without following a link; in no
 * order. fn answers EXIT_OK to go on. */
typedef int (*backup_file_fn)(const char *path, int fd, mode_t mode, off_t size, void *arg);
int backup_walk(int dir, const char *prefix, off_t max, backup_file_fn fn, void *arg);
/* A file that nobody but us made and may read: who left one under this name would read what is
 * written to it. -1 with errno. */
int backup_own(int fd);
/* SHA-256 of len bytes at `at`; -errno. */
int backup_digest(int fd, uint64_t at, uint64_t len, uint8_t ret[DIGEST_LEN]);

/* The first line of FILE, which only its owner may read. */
int backup_passphrase(const char *path, struct secret **ret);
/* Both say what goes wrong. */
int backup_keys_write(int state, const char *file, struct secret *passphrase, unsigned *ret_n);
/* stamp NULL: only whether all of it can be opened. Else the directories are filled under other
 * names, and change hands with those that are there, which keep the names (NAME.before-STAMP). */
int backup_keys_restore(struct state_dir *s, const char *file, struct secret *passphrase,
    const char *stamp, unsigned *ret_n);

#endif
