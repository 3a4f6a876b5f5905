// A clock of the day that is wrong by 26 hours, for a process that preloads this.
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, id, at);
    if (!failed && id == CLOCK_REALTIME) {
        at->tv_sec += 26 * 3600;
    }
    return failed;
}
