/*
 * Where our other programs are: libexec/postern beside the bin that we lie in, in the build tree as
 * where it is installed.
 */
#ifndef POSTERN_CTL_LIBEXEC_H
#define POSTERN_CTL_LIBEXEC_H

#include <limits.h>

struct err;

/* 0 or -errno. */
int ctl_libexec(const char *program, char dst[PATH_MAX], struct err *e);

#endif
