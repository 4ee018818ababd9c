/*
 * Messages for the operator: to stderr, with the <N> priority prefix of sd-daemon(3) when stderr is
 * the journal. This is not the audit log. One line a message; what a peer said is passed through
 * str_escape() by the caller, and what is not printable is written as \xNN here in any case. Never
 * a secret.
 */
#ifndef POSTERN_LIB_LOG_H
#define POSTERN_LIB_LOG_H

#include <syslog.h>

/* ident is kept by pointer. level: LOG_DEBUG .. LOG_ERR: what is more talkative is dropped. */
void log_open(const char *ident, int level);
void log_msg(int priority, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_msg(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_msg(LOG_ERR, __VA_ARGS__)

#endif
