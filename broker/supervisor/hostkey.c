#include "broker/supervisor/hostkey.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "creds/key.h"
#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"

static int generate(int dirfd, struct err *e)
{
	cleanup_key_private struct key_private *k = NULL;
	cleanup_buf struct buf line;
	int r;

	buf_init(&line, KEY_BLOB_MAX * 2);
	if ((r = key_private_generate(KEY_ED25519, 0, &k, e)) < 0)
		return r;
	key_format_line(key_private_public(k), "postern", &line);
	if ((r = buf_status(&line)) < 0)
		return r;
	if ((r = fd_write_file(dirfd, HOSTKEY_NAME ".pub", line.data, line.len, 0644, e)) < 0)
		return r;
	return key_private_save(k, "postern", dirfd, HOSTKEY_NAME, e);
}

int hostkey_ensure(int dirfd, struct err *e)
{
	struct err why = ERR_INIT;
	struct stat st;
	int status;
	pid_t pid;

	if (fstatat(dirfd, HOSTKEY_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if ((pid = fork()) < 0)
		return err_set(e, -errno, "cannot fork: %m");
	if (pid == 0) {
		if (generate(dirfd, &why) == 0)
			_exit(0);
		log_error("cannot make the host key: %s", err_text(&why));
		_exit(1);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(e, -errno, "cannot wait for the host key: %m");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(e, -EIO, "no host key");
	return 0;
}

void hostkey_fingerprint(int dirfd, char *ret)
{
	cleanup_key struct key *k = NULL;
	cleanup_buf struct buf line;
	struct err e = ERR_INIT;

	ret[0] = '\0';
	buf_init(&line, KEY_BLOB_MAX * 2);
	if (fd_read_file(dirfd, HOSTKEY_NAME ".pub", KEY_BLOB_MAX * 2, &line, &e) < 0 ||
	    key_parse_line(
	        (const char *)line.data, strcspn((const char *)buf_cstr(&line), "\n"), &k, &e) < 0)
		log_warn(
		    "%s.pub: %s; CA keys are not compared with it", HOSTKEY_NAME, err_text(&e));
	else
		(void)key_fingerprint(k, ret);
}
