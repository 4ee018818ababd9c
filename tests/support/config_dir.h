/*
 * For tests of the configuration: a directory with tenants/ and templates/ of the test's own, and
 * two CA keys.
 */
#ifndef POSTERN_TESTS_SUPPORT_CONFIG_DIR_H
#define POSTERN_TESTS_SUPPORT_CONFIG_DIR_H

struct config;

struct config_dir {
	char dir[64];
	int fd;
	char ca[2][256]; /* lines of two CA keys */
	char cert[2048]; /* the line of a certificate */
};

int config_dir_setup(void **state);
int config_dir_teardown(void **state);
void config_dir_put(const struct config_dir *f, const char *path, const char *text);
/* A good tenant with this CA and these lines more. */
void config_dir_tenant(
    const struct config_dir *f, const char *name, const char *ca, const char *more);
/* config_load() refuses, with both of these words. */
void config_dir_refused(const struct config_dir *f, const char *a, const char *b);
struct config *config_dir_accepted(const struct config_dir *f);

#endif
