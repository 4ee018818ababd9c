/* How strong a list of programs is: known interpreters, by name. */
#include "broker/spawn/programs.h"

#include <stddef.h>
#include <string.h>

#include "lib/util.h"

/* Programs that do what a text tells them, by name, as far as distributions have them. A version
 * may follow: python3.11, lua5.4, php8.2. */
static const char *const interpreters[] = {"ash", "awk", "bash", "bun", "busybox", "csh", "dash",
    "deno", "ed", "emacs", "expect", "fish", "gawk", "gdb", "ghci", "guile", "ipython", "java",
    "jshell", "julia", "ksh", "lldb", "lua", "luajit", "m4", "make", "gmake", "mawk", "mksh",
    "mono", "nawk", "nim", "node", "nodejs", "nvim", "ocaml", "octave", "original-awk", "perl",
    "php", "pypy", "python", "racket", "rbash", "ruby", "runghc", "scala", "sh", "sqlite3", "tclsh",
    "tcsh", "toybox", "vi", "vim", "vim.basic", "vim.tiny", "wish", "yash", "zsh"};

bool programs_interprets(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(interpreters); i++) {
		size_t n = strlen(interpreters[i]);

		if (strncmp(name, interpreters[i], n) == 0 &&
		    strspn(name + n, "0123456789.-") == strlen(name + n))
			return true;
	}
	/* the loader runs whatever it may read: all that is listed, and nothing else */
	return false;
}
