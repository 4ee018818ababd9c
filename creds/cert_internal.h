/*
 * Between cert.c (the frame) and cert_options.c (what the options say). Nobody else includes it.
 */
#ifndef POSTERN_CREDS_CERT_INTERNAL_H
#define POSTERN_CREDS_CERT_INTERNAL_H

#include "creds/cert.h"
#include "lib/reader.h"

/* Notes the first rule that the certificate breaks. 0, or -ENOMEM. */
int cert_refuse(struct cert *c, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Read a whole list to its last byte. 0; -EBADMSG; -ENOMEM. */
int cert_read_critical(struct cert *c, struct reader *list, struct err *e);
int cert_read_extensions(struct cert *c, struct reader *list, struct err *e);

#endif
