/*
 * The signer's part that seals logs: messages to creds/sealer.h and back, with limits of its own.
 * Its keys are apart from those that sign tokens: nothing that a token's claims say can become a
 * checkpoint.
 */
#ifndef POSTERN_CREDS_SIGNER_SEAL_H
#define POSTERN_CREDS_SIGNER_SEAL_H

#include <jansson.h>
#include <stdint.h>

struct err;
struct msg;
struct sealer;

#define SEAL_RATE   100 /* notes a second */
#define SEAL_BURST  600 /* at once: every log twice, and more */
#define EPOCH_EVERY 60  /* seconds between epochs, EPOCH_BURST at once */
#define EPOCH_BURST 4

struct bucket {
	int64_t tokens_ns, filled_ns;
};

struct signer_seal {
	int keys_fd;           /* borrowed */
	struct sealer *sealer; /* opened at the first message */
	struct bucket notes, epochs;
};

void signer_seal_init(struct signer_seal *s, int keys_fd);
void signer_seal_done(struct signer_seal *s);
/* -ENOMSG: none of ours; -errno with e: refused. */
int signer_seal_handle(struct signer_seal *s, const struct msg *m, const char **ret_type,
    json_t **ret_body, struct err *e);

#endif
