/*
 * SSH_AUTH_INFO_0: what sshd's privileged process says about how the user authenticated.
 *
 * sshd (auth-pam.c, expose_authinfo) puts one line into the PAM environment for each method that
 * succeeded, "METHOD DETAIL\n", and for a key "publickey TYPE BASE64\n". The variable is there but
 * empty while nothing has succeeded, which on OpenSSH 9.2 is so at the account stage. What is
 * accepted here is exactly one line, of exactly one certificate: whatever could be read in two ways
 * is refused, and emptiness is never a permission.
 *
 * Whether the certificate is worth anything is the core's business. Depends on lib alone.
 */
#ifndef POSTERN_PAM_AUTHINFO_H
#define POSTERN_PAM_AUTHINFO_H

#include <stddef.h>

struct buf;
struct err;

#define AUTHINFO_NAME     "SSH_AUTH_INFO_0"
#define AUTHINFO_KEY_MAX  (48u * 1024) /* bytes of the certificate: pam.open's limit */
#define AUTHINFO_TEXT_MAX (AUTHINFO_KEY_MAX / 3 * 4 + 128) /* bytes of the variable */

/* Appends the certificate to ret (which should allow AUTHINFO_KEY_MAX bytes). text need not be
 * terminated; NULL counts as empty. 0; -ENODATA if there is nothing; -EBADMSG for anything but one
 * certificate, with the reason in e (which repeats nothing of the text); -ENOBUFS, -ENOMEM. */
int authinfo_parse(const char *text, size_t len, struct buf *ret, struct err *e);

#endif
