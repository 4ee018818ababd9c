/*
 * For tests of what cannot be undone: runs a function in a child of its own. CHECK ends the
 * function with the number of the line that was not as it should be; child_run() fails the test
 * with it.
 */
#ifndef POSTERN_TESTS_SUPPORT_CHILD_H
#define POSTERN_TESTS_SUPPORT_CHILD_H

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			return __LINE__;                                                           \
	} while (0)

/* fn answers 0 when all was well. Its answer comes back through a pipe, because a confined child
 * may not be able to say more by its status. */
void child_run(int (*fn)(void));

#endif
