/*
 * What operators may read of the logs: which there are, and their records page by page.
 */
#ifndef POSTERN_CORE_CTL_LOG_H
#define POSTERN_CORE_CTL_LOG_H

struct err;
struct msg;
struct peer;

int ctl_log_records(struct peer *p, struct msg *m, struct err *e);
int ctl_log_list(struct peer *p, struct msg *m, struct err *e);

#endif
