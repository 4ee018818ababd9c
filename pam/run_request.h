/*
 * What postern-run asks the core for: a command, a shell or sftp, with a pty or without.
 *
 * sshd leaves what the client asked in SSH_ORIGINAL_COMMAND (sshd_config(5), ForceCommand): no
 * variable means a shell, and for a subsystem it holds the command of sshd's own configuration. It
 * says what is wanted, never who wants it: an agent that sends the text of the sftp server as a
 * command gets sftp, which is the same thing.
 *
 * Depends on lib alone.
 */
#ifndef POSTERN_PAM_RUN_REQUEST_H
#define POSTERN_PAM_RUN_REQUEST_H

#include <jansson.h>
#include <stdint.h>

struct err;

#define RUN_CHANNEL     1 /* each postern-run has a socket of its own and one channel on it */
#define RUN_COMMAND_MAX (64u * 1024)
#define RUN_TERM_MAX    64

/* original: SSH_ORIGINAL_COMMAND or NULL. tty: a terminal whose size goes along, or -1 for none;
 * term: TERM or NULL. *ret is the body of channel.exec (new). 0; -E2BIG for a command that is too
 * long; -ENOMEM. */
int run_request(const char *original, int tty, const char *term, json_t **ret, struct err *e);

#endif
