/*
 * Ends a worker that spins.
 *
 * libssh 0.10.6 writes for ever to a channel whose client announced a maximum packet of exactly 10
 * bytes (channel_write_common() subtracts 10), and there is no way to ask for that value. So each
 * turn of the main loop may use WATCHDOG_CPU_S of processor time: ITIMER_PROF then sends SIGPROF,
 * whose default action is to terminate. Waiting costs no processor time, so an idle worker needs no
 * timer calls.
 */
#ifndef POSTERN_GATEWAY_WATCHDOG_H
#define POSTERN_GATEWAY_WATCHDOG_H

#include <stdint.h>

#define WATCHDOG_CPU_S 3

/* To be called once a turn; re-arms at most twice a second. now_ns: clock_mono_ns().
 * 0 or -errno. */
int watchdog_pat(int64_t now_ns);

#endif
