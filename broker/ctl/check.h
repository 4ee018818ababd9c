/*
 * What `postern check` finds: a list of facts, each good, doubtful or bad. check_config.c looks at
 * the configuration as the daemons read it, check_host.c at the kernel and the host, check_sshd.c
 * at a stock sshd.
 */
#ifndef POSTERN_CTL_CHECK_H
#define POSTERN_CTL_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct buf;
struct ctl;

enum check_level { CHECK_OK, CHECK_WARN, CHECK_BAD };

struct check {
	json_t *list; /* of {"check", "result", "detail"} */
	bool bad;
};

void check_add(struct check *k, enum check_level level, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Runs a program (absolute path, no shell) with an empty environment but PATH, and appends its
 * output, stderr included, to out (which bounds it). Its exit status, or -errno. */
int check_run(const char *const *argv, struct buf *out);

/* As a table. */
void check_print(const struct check *k);
/* False if the configuration cannot be used. */
bool check_config(struct check *k, const struct ctl *c, const char *dir, int *ret_fd);
/* config_fd: the directory, or -1 when it cannot be used. */
void check_host(struct check *k, const struct ctl *c, int config_fd);
void check_sshd(struct check *k, const struct ctl *c);
/* What sshd -T printed, judged. Exposed for its test. */
void check_sshd_text(struct check *k, char *text);

#endif
