#include "gateway/ssh/server.h"

#include <errno.h>
#include <libssh/callbacks.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/secret.h"
#include "lib/util.h"

#define KEX_STRICT "curve25519-sha256,curve25519-sha256@libssh.org"
/* CTR with encrypt-then-MAC is for clients without AEAD ciphers (Debian 12's paramiko):
 * CVE-2023-48795 reaches chacha20-poly1305 and CBC, not CTR, and strict key exchange closes it for
 * the rest. */
#define CIPHERS                                                                                    \
	"chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com,"             \
	"aes256-ctr,aes128-ctr"
#define MACS_STRICT "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com"

struct profile {
	const char *kex, *ciphers, *macs;
};

/* No group exchange (libssh would serve 2048 bits), no zlib, no SHA-1, no CBC, in either. */
static const struct profile profiles[] = {
    [GATEWAY_STRICT] = {KEX_STRICT, CIPHERS, MACS_STRICT},
    [GATEWAY_COMPAT] = {KEX_STRICT ",ecdh-sha2-nistp256", CIPHERS,
        MACS_STRICT ",hmac-sha2-256,hmac-sha2-512"},
};

static int load_key(int dirfd, ssh_key *ret, struct err *e)
{
	cleanup_buf struct buf text;
	const char *s;
	int r;

	buf_init(&text, SERVER_HOSTKEY_MAX);
	if ((r = fd_read_file(dirfd, SERVER_HOSTKEY_FILE, SERVER_HOSTKEY_MAX - 1, &text, e)) < 0)
		return err_wrap(e, r, "host key %s", SERVER_HOSTKEY_FILE);
	s = buf_cstr(&text);
	r = s ? ssh_pki_import_privkey_base64(s, NULL, NULL, NULL, ret) : SSH_ERROR;
	secret_wipe(text.data, text.len);
	if (r != SSH_OK)
		return err_set(
		    e, -EINVAL, "host key %s: not a usable private key", SERVER_HOSTKEY_FILE);
	if (ssh_key_type(*ret) != SSH_KEYTYPE_ED25519) {
		ssh_key_free(*ret);
		return err_set(e, -EINVAL, "host key %s: not ed25519", SERVER_HOSTKEY_FILE);
	}
	return 0;
}

int server_new(int dirfd, enum gateway_algorithms algorithms, ssh_bind *ret, struct err *e)
{
	const struct profile *p = &profiles[algorithms];
	const struct {
		enum ssh_bind_options_e option;
		const char *value;
	} options[] = {
	    {SSH_BIND_OPTIONS_KEY_EXCHANGE, p->kex},
	    {SSH_BIND_OPTIONS_CIPHERS_C_S, p->ciphers},
	    {SSH_BIND_OPTIONS_CIPHERS_S_C, p->ciphers},
	    {SSH_BIND_OPTIONS_HMAC_C_S, p->macs},
	    {SSH_BIND_OPTIONS_HMAC_S_C, p->macs},
	    {SSH_BIND_OPTIONS_HOSTKEY_ALGORITHMS, "ssh-ed25519"},
	};
	bool no = false;
	ssh_key key = NULL;
	ssh_bind b;
	int r;

	if (ssh_init() != SSH_OK || !(b = ssh_bind_new()))
		return err_set(e, -ENOMEM, "libssh does not start");
	if ((r = load_key(dirfd, &key, e)) < 0) {
		ssh_bind_free(b);
		return r;
	}
	r = ssh_bind_options_set(b, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
	for (size_t i = 0; i < ARRAY_LEN(options) && r == SSH_OK; i++)
		r = ssh_bind_options_set(b, options[i].option, options[i].value);
	if (r != SSH_OK || ssh_bind_options_set(b, SSH_BIND_OPTIONS_IMPORT_KEY, key) != SSH_OK) {
		r = err_set(e, -EINVAL, "libssh: %s", ssh_get_error(b));
		ssh_key_free(key);
		ssh_bind_free(b);
		return r;
	}
	*ret = b;
	return 0;
}

/* ---- warming up ---- */

static int client_new(int fd, ssh_session *ret)
{
	ssh_session s = ssh_new();
	bool no = false;

	if (!s)
		return -ENOMEM;
	/* every path and name is given, so that libssh looks nothing up */
	if (ssh_options_set(s, SSH_OPTIONS_HOST, "warm-up") != SSH_OK ||
	    ssh_options_set(s, SSH_OPTIONS_USER, "nobody") != SSH_OK ||
	    ssh_options_set(s, SSH_OPTIONS_SSH_DIR, "/nonexistent") != SSH_OK ||
	    ssh_options_set(s, SSH_OPTIONS_KNOWNHOSTS, "/nonexistent") != SSH_OK ||
	    ssh_options_set(s, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/nonexistent") != SSH_OK ||
	    ssh_options_set(s, SSH_OPTIONS_COMPRESSION, "none") != SSH_OK ||
	    ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no) != SSH_OK ||
	    ssh_options_set(s, SSH_OPTIONS_FD, &fd) != SSH_OK) {
		ssh_free(s);
		return -ENOMEM;
	}
	ssh_set_blocking(s, 0);
	*ret = s;
	return 0;
}

static bool exchange(ssh_session server, ssh_session client)
{
	int there = SSH_AGAIN, here = SSH_AGAIN;

	for (int i = 0; i < 200 && (there == SSH_AGAIN || here == SSH_AGAIN); i++) {
		if (there == SSH_AGAIN)
			there = ssh_connect(client);
		if (here == SSH_AGAIN)
			here = ssh_handle_key_exchange(server);
	}
	/* one encrypted packet each way */
	if (there == SSH_OK && here == SSH_OK)
		(void)ssh_userauth_none(client, NULL);
	return there == SSH_OK && here == SSH_OK;
}

int server_warm_up(ssh_bind b, struct err *e)
{
	ssh_session server = ssh_new(), client = NULL;
	int pair[2];
	bool good;

	if (!server ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		ssh_free(server);
		return err_set(e, -ENOMEM, "no memory");
	}
	if (client_new(pair[1], &client) < 0) {
		util_close(&pair[0]);
		util_close(&pair[1]);
		ssh_free(server);
		return err_set(e, -ENOMEM, "no memory");
	}
	ssh_set_blocking(server, 0);
	good = ssh_options_set(server, SSH_OPTIONS_COMPRESSION, "none") == SSH_OK &&
	       ssh_bind_accept_fd(b, server, pair[0]) == SSH_OK && exchange(server, client);
	if (!good)
		(void)err_set(e, -EPROTO, "key exchange with ourselves: %s / %s",
		    ssh_get_error(server), ssh_get_error(client));
	ssh_free(client);
	ssh_free(server); /* closes its end of the pair, as the client did */
	return good ? 0 : -EPROTO;
}
