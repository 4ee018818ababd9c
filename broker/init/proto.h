/*
 * What the core tells the sandbox's init, and what init tells a channel's reader.
 *
 * Requests travel core -> init over a one-way SEQPACKET socket (the core's end is shut down for
 * reading, so nothing, above all no descriptor, can come back). A request is self-delimiting, so
 * that the same bytes work over a byte stream: u32 length of what follows, u8 type, fields in SSH
 * wire types (RFC 4251 section 5).
 *
 *   EXEC    u32 channel, u8 flags, string cwd, u32 argc, argc strings, u32 envc, envc strings "N=V"
 *           descriptors: stdin, stdout, stderr, status -- or with INIT_PTY: slave, status
 *   SIGNAL  u32 channel, u32 signal number: to the process group of that channel's command
 *   END     u32 grace in milliseconds: TERM to everything, then exit, which kills the rest
 *
 * Answers go by the status pipe of the channel, in records of INIT_STATUS_LEN bytes, written whole
 * (below PIPE_BUF): u8 kind, three zero bytes, u32 value. End of file without EXITED or SIGNALED
 * means that the sandbox is gone. The reader treats it as hostile input.
 *
 * Depends on lib/buf, lib/reader alone: it is compiled into the static init as well.
 */
#ifndef POSTERN_INIT_PROTO_H
#define POSTERN_INIT_PROTO_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct reader;

#define INIT_REQUEST_MAX  (112u * 1024)
#define INIT_ARGS_MAX     64
#define INIT_ENV_MAX      128
#define INIT_CHANNELS_MAX 1024

#define INIT_EXEC   1
#define INIT_SIGNAL 2
#define INIT_END    3

#define INIT_PTY                                                                                   \
	1u /* flag: descriptors are slave, status; the command gets a session and a controlling    \
	      tty */

#define INIT_STATUS_LEN 8
#define INIT_EXITED     1 /* value: exit code */
#define INIT_SIGNALED   2 /* value: signal number */
#define INIT_FAILED     3 /* value: errno of what failed before exec; an EXITED 126 or 127 follows */

struct init_request {
	uint8_t type;
	uint32_t channel;
	uint8_t flags;
	uint32_t value; /* SIGNAL: number; END: grace */
	char *cwd;
	char *argv[INIT_ARGS_MAX + 1]; /* NULL-terminated, as envp */
	char *envp[INIT_ENV_MAX + 1];
	char *storage; /* what the pointers above point into */
};

/* Appends one request. argv and envp are NULL-terminated. Check buf_status(). */
void init_put_exec(struct buf *b, uint32_t channel, uint8_t flags, const char *cwd,
    const char *const *argv, const char *const *envp);
void init_put_signal(struct buf *b, uint32_t channel, uint32_t signo);
void init_put_end(struct buf *b, uint32_t grace_ms);

/* Parses one whole request (length word included). 0, -EBADMSG, -E2BIG, -ENOMEM.
 * init_request_done() releases, also after a failure. */
int init_parse(struct init_request *q, const void *data, size_t len);
void init_request_done(struct init_request *q);

void init_put_status(uint8_t out[INIT_STATUS_LEN], uint8_t kind, uint32_t value);
/* 0, or -EBADMSG for an unknown kind or non-zero padding. */
int init_parse_status(const uint8_t in[INIT_STATUS_LEN], uint8_t *ret_kind, uint32_t *ret_value);

#endif
