/* Words to the service manager (sd_notify(3)); without one they go nowhere. */
#ifndef POSTERN_SUPERVISOR_NOTIFY_H
#define POSTERN_SUPERVISOR_NOTIFY_H

void notify_ready(const char *where); /* where: the address, for STATUS= */
void notify_reloading(void);
void notify_stopping(void);

#endif
