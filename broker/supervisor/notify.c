#include "broker/supervisor/notify.h"

#include <systemd/sd-daemon.h>

void notify_ready(const char *where)
{
	(void)sd_notifyf(0, "READY=1\nSTATUS=Accepting connections at %s", where);
}

void notify_reloading(void)
{
	(void)sd_notify(0, "RELOADING=1");
}

void notify_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1\nSTATUS=Ending sessions");
}
