/*
 * Build tool: prints build/gen/filters.h, the seccomp programs of the sandbox and of our own
 * processes, as classic BPF that is loaded as it is (compiling at run time would cost 0.8 ms each).
 *
 * libseccomp gives the system calls their numbers. The program itself is made here: the kernel's
 * cost of loading a filter grows with its length and with the steps it takes for each number, and a
 * binary search over ranges of numbers with one verdict needs a quarter of the instructions of a
 * tree with a leaf a number. Argument rules also need a comparison that libseccomp cannot say (not
 * equal in the low 32 bits, which is all that the kernel looks at).
 *
 * With the argument `weak` it prints the agent's program with one part of it left out at a time
 * instead, for tests that show what that part is for (lib/defence.h).
 *
 * Verdicts: allowed; an errno; killed; or a rule that looks at the arguments. A system call nobody
 * names gets the filter's default. Any other architecture, x32 included, is killed.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/spawn/filter_lists.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "no seccomp filters for this architecture yet"
#endif

#define NR_MAX   512 /* numbers from here on get the default */
#define X32_BIT  0x40000000u
#define ALLOW    SECCOMP_RET_ALLOW
#define KILL     SECCOMP_RET_KILL_PROCESS
#define NO(e)    (SECCOMP_RET_ERRNO | (uint32_t)(e))
#define INSN_MAX 1024

/* ---- a program under construction ---- */

static struct sock_filter prog[INSN_MAX];
static size_t prog_len;

static void die(const char *what, const char *name)
{
	(void)fprintf(stderr, "filter_gen: %s%s\n", what, name);
	exit(1);
}

static void put(uint16_t code, uint32_t k, size_t jt, size_t jf)
{
	if (prog_len == INSN_MAX || jt > 255 || jf > 255)
		die("the program is too long", "");
	prog[prog_len++] = (struct sock_filter){code, (uint8_t)jt, (uint8_t)jf, k};
}

static void ret(uint32_t action)
{
	put(BPF_RET | BPF_K, action, 0, 0);
}

/* The low half of an argument: the kernel reads int and unsigned int arguments from it alone. */
static void load_arg(unsigned n)
{
	put(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offsetof(struct seccomp_data, args) + 8u * n), 0,
	    0);
}

/* If the loaded value is k the next `skip` instructions are passed over. */
static void skip_if(uint32_t k, size_t skip)
{
	put(BPF_JMP | BPF_JEQ | BPF_K, k, skip, 0);
}

static void ret_if(uint32_t k, uint32_t action)
{
	put(BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
	ret(action);
}

/* A block for the value k alone: everybody else goes on where land() is called. */
static size_t unless(uint32_t k)
{
	put(BPF_JMP | BPF_JEQ | BPF_K, k, 0, 0);
	return prog_len - 1;
}

static void land(size_t block)
{
	prog[block].jf = (uint8_t)(prog_len - block - 1);
}

/* ---- rules that look at arguments ---- */

/* socket(2): UNIX; INET and INET6 as TCP and UDP only (no raw, MPTCP, SCTP, ICMP);
 * NETLINK_ROUTE. */
static void rule_socket(void)
{
	size_t other;

	load_arg(0);
	ret_if(1 /* AF_UNIX */, ALLOW);
	other = unless(16 /* AF_NETLINK */);
	load_arg(2);
	ret_if(0 /* NETLINK_ROUTE */, ALLOW);
	ret(NO(EAFNOSUPPORT));
	land(other);
	skip_if(2 /* AF_INET */, 2);
	skip_if(10 /* AF_INET6 */, 1);
	ret(NO(EAFNOSUPPORT));
	load_arg(1);
	put(BPF_ALU | BPF_AND | BPF_K, 0xf /* SOCK_TYPE_MASK */, 0, 0);
	other = unless(1 /* SOCK_STREAM */);
	load_arg(2);
	ret_if(0, ALLOW);
	ret_if(6 /* IPPROTO_TCP */, ALLOW);
	ret(NO(EPROTONOSUPPORT));
	land(other);
	other = unless(2 /* SOCK_DGRAM */);
	load_arg(2);
	ret_if(0, ALLOW);
	ret_if(17 /* IPPROTO_UDP */, ALLOW);
	ret(NO(EPROTONOSUPPORT));
	land(other);
	ret(NO(EPERM));
}

/* Upper layer protocols (kernel TLS, espintcp, SMC), encapsulation, and programs on sockets. */
static void rule_setsockopt(void)
{
	size_t other;

	load_arg(1);
	other = unless(6 /* SOL_TCP */);
	load_arg(2);
	ret_if(31 /* TCP_ULP */, NO(EPERM));
	ret(ALLOW);
	land(other);
	other = unless(17 /* SOL_UDP */);
	load_arg(2);
	ret_if(100 /* UDP_ENCAP */, NO(EPERM));
	ret(ALLOW);
	land(other);
	other = unless(1 /* SOL_SOCKET */);
	load_arg(2);
	ret_if(26 /* SO_ATTACH_FILTER */, NO(EPERM));
	ret_if(50 /* SO_ATTACH_BPF */, NO(EPERM));
	ret_if(51 /* SO_ATTACH_REUSEPORT_CBPF */, NO(EPERM));
	ret_if(52 /* SO_ATTACH_REUSEPORT_EBPF */, NO(EPERM));
	land(other);
	ret(ALLOW);
}

/* CVE-2017-5226, CVE-2023-28100, CVE-2019-10063: bytes pushed into the terminal's input. */
static void rule_ioctl_agent(void)
{
	load_arg(1);
	ret_if(0x5412 /* TIOCSTI */, NO(EPERM));
	ret_if(0x541c /* TIOCLINUX */, NO(EPERM));
	ret_if(0x5423 /* TIOCSETD: line disciplines, a row of rare drivers */, NO(EPERM));
	ret(ALLOW);
}

/* The pipes of its stdio are charged to the core: to grow them takes from all sessions' (pipe(7),
 * pipe-user-pages-soft). Who opens a file that is leased waits, whoever it is. */
static void rule_fcntl_agent(void)
{
	load_arg(1);
	ret_if(1024 /* F_SETLEASE */, NO(EPERM));
	ret_if(1031 /* F_SETPIPE_SZ */, NO(EPERM));
	ret(ALLOW);
}

static void rule_clone(void)
{
	load_arg(0);
	/* CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}; NEWTIME exists in clone3(2) alone */
	put(BPF_JMP | BPF_JSET | BPF_K,
	    0x00020000u | 0x02000000u | 0x04000000u | 0x08000000u | 0x10000000u | 0x20000000u |
	        0x40000000u,
	    0, 1);
	ret(NO(EPERM));
	ret(ALLOW);
}

static void allow_any_of(unsigned arg, const uint32_t *values, size_t n, uint32_t otherwise)
{
	load_arg(arg);
	for (size_t i = 0; i < n; i++)
		skip_if(values[i], n - i);
	ret(otherwise);
	ret(ALLOW);
}

#define ALLOW_ANY(arg, otherwise, ...)                                                             \
	do {                                                                                       \
		static const uint32_t v_[] = {__VA_ARGS__};                                        \
		allow_any_of(arg, v_, sizeof(v_) / sizeof(v_[0]), otherwise);                      \
	} while (0)

static void rule_prctl_agent(void)
{
	/* PDEATHSIG, DUMPABLE, KEEPCAPS, NAME, GET_SECCOMP, CAPBSET, SECUREBITS, TIMERSLACK,
	 * SUBREAPER, NO_NEW_PRIVS, THP, CAP_AMBIENT, GET_SPECULATION, MDWE, SET_VMA */
	ALLOW_ANY(0, NO(EINVAL), 15, 16, 1, 2, 3, 4, 7, 8, 21, 23, 24, 27, 28, 29, 30, 36, 37, 38,
	    39, 41, 42, 47, 52, 65, 66, 0x53564d41);
}

static void rule_prctl_daemon(void) /* GET_DUMPABLE, NAME, GET_SECCOMP, NO_NEW_PRIVS, SET_VMA */
{
	ALLOW_ANY(0, NO(EPERM), 3, 15, 16, 21, 38, 39, 0x53564d41);
}

static void rule_socketpair(void)
{
	ALLOW_ANY(0, NO(EAFNOSUPPORT), 1 /* AF_UNIX */);
}
static void rule_personality(void)
{
	ALLOW_ANY(0, NO(EPERM), 0, 0xffffffff);
}

static void rule_ioctl_daemon(void) /* TCGETS, SIOCOUTQ, window size, FIONREAD, FIONBIO */
{
	ALLOW_ANY(1, NO(EPERM), 0x5401, 0x5411, 0x5413, 0x5414, 0x541b, 0x5421);
}
static void rule_ioctl_run(void) /* the same, and setting terminal modes */
{
	ALLOW_ANY(1, NO(EPERM), 0x5401, 0x5402, 0x5403, 0x5404, 0x5413, 0x5414, 0x541b, 0x5421);
}
static void rule_ioctl_watch(void) /* SECCOMP_IOCTL_NOTIF_*: RECV, SEND, ID_VALID, SET_FLAGS */
{
	ALLOW_ANY(1, NO(EPERM), 0xc0502100, 0xc0182101, 0x40082102, 0x40082104);
}

/* kill(2) of the caller's own process group, to end as a command of the sandbox did. */
static void rule_kill_group(void)
{
	load_arg(0);
	ret_if(0, ALLOW);
	ret(NO(EPERM));
}

/* mmap(2), mprotect(2) without PROT_EXEC: our code is all loaded by now. */
static void rule_no_exec(void)
{
	load_arg(2);
	put(BPF_JMP | BPF_JSET | BPF_K, 4 /* PROT_EXEC */, 0, 1);
	ret(NO(EPERM));
	ret(ALLOW);
}

/* clone(2) for threads alone; clone3(2), whose flags lie in memory, is said not to be there, and
 * libc then takes the other. */
static void rule_thread(void)
{
	load_arg(0);
	put(BPF_JMP | BPF_JSET | BPF_K, 0x00010000u /* CLONE_THREAD */, 1, 0);
	ret(NO(EPERM));
	ret(ALLOW);
}
static void rule_absent(void)
{
	ret(NO(ENOSYS));
}

/* utimensat(2) of a descriptor: without a path, in both halves of its address. */
static void rule_times_of_fd(void)
{
	size_t other;

	load_arg(1);
	other = unless(0);
	put(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 + 4, 0, 0);
	ret_if(0, ALLOW);
	land(other);
	ret(NO(EPERM));
}

/* ---- filters ---- */

struct rule {
	const char *call;
	void (*fn)(void);
};

struct filter {
	const char *name;
	uint32_t otherwise;
	const char *const *allowed[6];
	const char *const *refused; /* EPERM */
	const char *const *killed;
	struct rule rules[12];
	int is_agent;
	const char *const *left_out; /* of what is allowed */
};

#define DAEMON_RULES(io)                                                                           \
	{"mmap", rule_no_exec}, {"mprotect", rule_no_exec}, {"prctl", rule_prctl_daemon},          \
	{                                                                                          \
		"ioctl", io                                                                        \
	}

static const struct filter filters[] = {
    {"agent", NO(ENOSYS), {agent_calls}, agent_refused, NULL,
        {{"socket", rule_socket}, {"socketpair", rule_socketpair}, {"setsockopt", rule_setsockopt},
            {"ioctl", rule_ioctl_agent}, {"clone", rule_clone}, {"prctl", rule_prctl_agent},
            {"personality", rule_personality}, {"fcntl", rule_fcntl_agent}},
        1, NULL},
    {"strict", NO(ENOSYS), {agent_calls}, agent_refused, NULL,
        {{"socket", rule_socketpair}, {"socketpair", rule_socketpair},
            {"setsockopt", rule_setsockopt}, {"ioctl", rule_ioctl_agent}, {"clone", rule_clone},
            {"prctl", rule_prctl_agent}, {"personality", rule_personality},
            {"fcntl", rule_fcntl_agent}},
        1, strict_left_out},
    {"core", NO(EPERM), {daemon_calls, accept_calls, file_calls, core_calls}, NULL, daemon_killed,
        {DAEMON_RULES(rule_ioctl_daemon)}, 0, NULL},
    {"unpack", NO(EPERM), {daemon_calls, unpack_calls}, NULL, daemon_killed,
        {DAEMON_RULES(rule_ioctl_daemon), {"utimensat", rule_times_of_fd}}, 0, NULL},
    {"signer", NO(EPERM), {daemon_calls, file_calls}, NULL, daemon_killed,
        {DAEMON_RULES(rule_ioctl_daemon)}, 0, NULL},
    {"listener", NO(EPERM), {daemon_calls, accept_calls, reload_calls}, NULL, daemon_killed,
        {DAEMON_RULES(rule_ioctl_daemon)}, 0, NULL},
    {"worker", NO(EPERM), {daemon_calls, pipe_calls, worker_calls}, NULL, daemon_killed,
        {DAEMON_RULES(rule_ioctl_daemon)}, 0, NULL},
    {"export", NO(EPERM), {daemon_calls, file_calls, dial_calls}, NULL, daemon_killed,
        {DAEMON_RULES(rule_ioctl_daemon), {"socket", rule_socket}, {"socketpair", rule_socketpair},
            {"clone", rule_thread}, {"clone3", rule_absent}},
        0, NULL},
    {"lease", NO(EPERM), {daemon_calls, accept_calls}, NULL, daemon_killed,
        {DAEMON_RULES(rule_ioctl_daemon)}, 0, NULL},
    {"walk", NO(EPERM), {daemon_calls, walk_calls}, NULL, daemon_killed,
        {DAEMON_RULES(rule_ioctl_daemon)}, 0, NULL},
    {"watch", NO(EPERM), {daemon_calls, watch_calls}, NULL, daemon_killed,
        {DAEMON_RULES(rule_ioctl_watch)}, 0, NULL},
    {"witness", NO(EPERM), {daemon_calls, accept_calls, file_calls}, NULL, daemon_killed,
        {DAEMON_RULES(rule_ioctl_daemon)}, 0, NULL},
    {"run", NO(EPERM), {daemon_calls, pipe_calls}, NULL, daemon_killed,
        {DAEMON_RULES(rule_ioctl_run), {"kill", rule_kill_group}}, 0, NULL},
};

/* not a seccomp action: those of ours have high bits set */
#define RULE(i) ((uint32_t)(1u + (i)))

static void set(uint32_t *verdict, const char *call, uint32_t v)
{
	int nr = seccomp_syscall_resolve_name(call);

	if (nr == __NR_SCMP_ERROR)
		die("libseccomp does not know ", call);
	if (nr >= 0 && nr < NR_MAX) /* negative: another architecture's */
		verdict[nr] = v;
}

static void set_all(uint32_t *verdict, const char *const *calls, uint32_t v)
{
	for (; calls && *calls; calls++)
		set(verdict, *calls, v);
}

/* Where a verdict's leaf jumps to a rule: filled in when the rule's place is known. */
static size_t fixup[NR_MAX], fixup_rule[NR_MAX], fixups;

/* Binary search over ranges [first, last] of starts[], each with one verdict. Depth: log2. */
static void put_tree(const uint32_t *starts, const uint32_t *verdicts, size_t first, size_t last)
{
	size_t middle, at;

	if (first == last) {
		uint32_t v = verdicts[first];

		if (v == 0 || v > NR_MAX) {
			ret(v);
			return;
		}
		fixup[fixups] = prog_len;
		fixup_rule[fixups++] = v - 1;
		put(BPF_JMP | BPF_JA, 0, 0, 0);
		return;
	}
	middle = (first + last + 1) / 2;
	at = prog_len;
	put(BPF_JMP | BPF_JGE | BPF_K, starts[middle], 0, 0);
	put_tree(starts, verdicts, first, middle - 1);
	if (prog_len - at - 1 > 255)
		die("a jump is too far", "");
	prog[at].jt = (uint8_t)(prog_len - at - 1);
	put_tree(starts, verdicts, middle, last);
}

/* Part of the agent's filter that a test leaves out: what is named is allowed as it comes. */
static const struct weak {
	const char *name;
	const char *const *open;
} weak[] = {
    {"seccomp-terminal", weak_terminal},
    {"seccomp-io_uring", weak_io_uring},
    {"seccomp-socket", weak_socket},
    {"seccomp-setsockopt", weak_setsockopt},
    {"seccomp-keyring", weak_keyring},
    {"seccomp-userfaultfd", weak_userfaultfd},
    {"seccomp-perf", weak_perf},
    {"seccomp-personality", weak_personality},
    {"seccomp-prctl", weak_prctl},
    {"seccomp-fcntl", weak_fcntl},
    {"seccomp-namespaces", weak_namespaces},
    {"seccomp-trace", weak_trace},
};

static void generate(const struct filter *f, const char *name, const char *const *open)
{
	uint32_t verdict[NR_MAX], starts[NR_MAX + 2], verdicts[NR_MAX + 2];
	size_t n = 0, rules = 0, place[16];

	prog_len = fixups = 0;
	for (size_t i = 0; i < NR_MAX; i++)
		verdict[i] = f->otherwise;
	set_all(verdict, f->killed, KILL);
	set_all(verdict, f->refused, NO(EPERM));
	for (size_t i = 0; i < 6; i++)
		set_all(verdict, f->allowed[i], ALLOW);
	for (; rules < 12 && f->rules[rules].call; rules++)
		set(verdict, f->rules[rules].call, RULE(rules));
	set_all(verdict, f->left_out, f->otherwise);
	set_all(verdict, open, ALLOW);
	if (!f->is_agent)
		set_all(verdict, san_calls, ALLOW);

	for (uint32_t nr = 0; nr < NR_MAX; nr++)
		if (n == 0 || verdict[nr] != verdicts[n - 1]) {
			starts[n] = nr;
			verdicts[n++] = verdict[nr];
		}
	if (verdicts[n - 1] != f->otherwise) {
		starts[n] = NR_MAX;
		verdicts[n++] = f->otherwise;
	}
	starts[n] = X32_BIT;
	verdicts[n++] = KILL;

	put(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
	skip_if(ARCH, 1);
	ret(KILL);
	put(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
	put_tree(starts, verdicts, 0, n - 1);
	for (size_t i = 0; i < rules; i++) {
		place[i] = prog_len;
		for (size_t k = 0; k < i; k++) /* shared by two calls */
			if (f->rules[k].fn == f->rules[i].fn)
				place[i] = place[k];
		if (place[i] == prog_len)
			f->rules[i].fn();
	}
	for (size_t i = 0; i < fixups; i++)
		prog[fixup[i]].k = (uint32_t)(place[fixup_rule[i]] - fixup[i] - 1);

	(void)printf(
	    "static const struct sock_filter filter_%s[] __attribute__((unused)) = {\n", name);
	for (size_t i = 0; i < prog_len; i++)
		(void)printf("    {0x%02x, %u, %u, 0x%08x},\n", prog[i].code, prog[i].jt,
		    prog[i].jf, prog[i].k);
	(void)printf("};\n#define FILTER_");
	for (const char *c = name; *c; c++)
		(void)putchar(*c >= 'a' ? *c - 'a' + 'A' : *c);
	(void)printf("_LEN %zuu\n\n", prog_len);
}

static void generate_weak(void)
{
	size_t n = sizeof(weak) / sizeof(weak[0]);
	char name[32];

	for (size_t i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "weak_%zu", i);
		generate(&filters[0], name, weak[i].open);
	}
	(void)printf("static const struct {\n\tconst char *name;\n\tconst struct sock_filter "
	             "*prog;\n\tunsigned short len;\n} filters_weak[] = {\n");
	for (size_t i = 0; i < n; i++)
		(void)printf(
		    "    {\"%s\", filter_weak_%zu, FILTER_WEAK_%zu_LEN},\n", weak[i].name, i, i);
	(void)printf("};\n");
}

int main(int argc, char **argv)
{
	(void)printf("/* Made by filter_gen. */\n#include <linux/filter.h>\n\n");
	if (argc == 2 && strcmp(argv[1], "weak") == 0)
		generate_weak();
	else
		for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++)
			generate(&filters[i], filters[i].name, NULL);
	return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
