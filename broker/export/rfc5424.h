/*
 * A syslog message (RFC 5424) as RFC 5425 puts it on a TLS connection: its length in decimal, a
 * space, the message.
 *
 *   LEN <PRI>1 TIMESTAMP HOSTNAME postern - CLASS [postern@32473 origin="" log="" seq="" leaf=""]
 * MSG
 *
 * PRI is authpriv (10) and the severity. HOSTNAME is the origin without its path. MSG begins with a
 * byte order mark, as section 6.4 wants of UTF-8. 32473 is the number that RFC 5612 keeps for
 * documentation: put your own collector's rules on the name before it.
 */
#ifndef POSTERN_EXPORT_RFC5424_H
#define POSTERN_EXPORT_RFC5424_H

struct buf;
struct ocsf_event;

#define RFC5424_FACILITY 10

/* Appends one frame. */
void rfc5424_frame(
    const struct ocsf_event *ev, const char *origin, const char *log, struct buf *out);

#endif
