/*
 * Landlock's constants up to ABI 7, and the ruleset attribute with all its fields: Debian 12's
 * <linux/landlock.h> stops at ABI 2. From the kernel's include/uapi/linux/landlock.h; values are
 * ABI and cannot change. The name of each ABI's kernel: landlock(7).
 */
#ifndef POSTERN_LIB_LANDLOCK_ABI_H
#define POSTERN_LIB_LANDLOCK_ABI_H

#include <linux/landlock.h>
#include <stdint.h>

#define LL_FS_ABI1      ((UINT64_C(1) << 13) - 1) /* EXECUTE .. MAKE_SYM, 5.13 */
#define LL_FS_REFER     (UINT64_C(1) << 13)       /* ABI 2, 5.19 */
#define LL_FS_TRUNCATE  (UINT64_C(1) << 14)       /* ABI 3, 6.2 */
#define LL_FS_IOCTL_DEV (UINT64_C(1) << 15)       /* ABI 5, 6.10 */

#define LL_NET_BIND_TCP    (UINT64_C(1) << 0) /* ABI 4, 6.7 */
#define LL_NET_CONNECT_TCP (UINT64_C(1) << 1)

#define LL_SCOPE_ABSTRACT_UNIX (UINT64_C(1) << 0) /* ABI 6, 6.12 */
#define LL_SCOPE_SIGNAL        (UINT64_C(1) << 1)

#define LL_ABI_MAX 7 /* 6.15: audit flags, which we leave at their defaults */

/* struct landlock_ruleset_attr as of ABI 6. An older kernel accepts the larger size while the
 * fields it does not know are zero. */
struct ll_ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

#endif
