/* What the bench's programs have in common: sockets of the loopback network, one epoll, a clock, latencies, and octets of no meaning.

   A program includes it once, before all else, and calls `prepare`. Whatever goes wrong at the start ends the program with the reason. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DOORS = 8, EVENTS = 256, SOURCES = 64, CHUNK = 1 << 20, MAX_MICROS = 1 << 21 };

static int polled;
static uint32_t micros[MAX_MICROS]; /* how many took so long */

static inline void die(const char *what) {
    perror(what);
    exit(1);
}

/* With as many descriptors as may be. A connection that is gone is an error of what is sent, no signal: splice and sendfile have no MSG_NOSIGNAL. */
static inline void prepare(void) {
    struct rlimit files;
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if ((polled = epoll_create1(0)) < 0) die("epoll");
}

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static inline uint64_t now_us(void) {
    return now_ns() / 1000;
}

/* Something took so long. */
static inline void took(uint64_t us) {
    micros[us < MAX_MICROS ? us : MAX_MICROS - 1]++;
}

static inline unsigned percentile(double part) {
    uint64_t all = 0, below = 0;
    for (int i = 0; i < MAX_MICROS; i++) all += micros[i];
    for (int i = 0; i < MAX_MICROS; i++)
        if ((below += micros[i]) >= all * part && below) return i;
    return 0;
}

/* Events of the socket come with `who` from now on. */
static inline void watch(int fd, unsigned events, void *who) {
    struct epoll_event e = {.events = events, .data.ptr = who};
    if (epoll_ctl(polled, EPOLL_CTL_ADD, fd, &e)) die("epoll_ctl");
}

/* Other events than before. */
static inline void rewatch(int fd, unsigned events, void *who) {
    struct epoll_event e = {.events = events, .data.ptr = who};
    if (epoll_ctl(polled, EPOLL_CTL_MOD, fd, &e)) die("epoll_ctl");
}

/* 127.0.0.1, or so many addresses behind it. */
static inline struct sockaddr_in loopback(int further, int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK + further)};
}

/* Listens on 127.0.0.1. What it accepts sends small segments at once, as what `dial` makes. */
static inline int open_door(int port) {
    struct sockaddr_in at = loopback(0, port);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, (void *)&at, sizeof at) || listen(fd, 1024)) die("127.0.0.1");
    return fd;
}

/* A connection that is there, non-blocking from now on. Spread: from many addresses in turn, since each has only so many ports while old
   connections wait out their time. */
static inline int dial(struct sockaddr_in to, int is_spread) {
    static uint32_t dialled;
    struct sockaddr_in from = loopback(1 + dialled++ % SOURCES, 0);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (is_spread && bind(fd, (void *)&from, sizeof from)) die("bind");
    if (connect(fd, (void *)&to, sizeof to)) die("connect");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Sends some of so many octets of no meaning, from a memory file, which copies none. As send. */
static inline ssize_t send_some(int fd, uint64_t left) {
    static int octets = -1;
    off_t from = 0;
    if (octets < 0 && ((octets = memfd_create("octets", 0)) < 0 || ftruncate(octets, CHUNK))) die("memfd");
    return sendfile(fd, octets, &from, left < CHUNK ? left : CHUNK);
}

/* Counts some of so many octets, and copies none. As recv. */
static inline ssize_t count_some(int fd, uint64_t left) {
    return recv(fd, NULL, left < CHUNK ? left : CHUNK, MSG_TRUNC);
}

typedef void Turn(void *who, unsigned events);

/* Lets each have what came, waiting a tenth of a second for it at most. */
static inline void look(Turn *turn) {
    struct epoll_event seen[EVENTS];
    int n = epoll_wait(polled, seen, EVENTS, 100);
    for (int i = 0; i < n; i++) turn(seen[i].data.ptr, seen[i].events);
}

/* Serves on ports of 127.0.0.1 for ever: `welcome` watches each new connection, `turn` has what comes of it. */
static inline void serve(int count, char **ports, void (*welcome)(int fd), Turn *turn) {
    static int doors[DOORS];
    struct epoll_event seen[EVENTS];
    for (int i = 0; i < count; i++) watch(doors[i] = open_door(atoi(ports[i])), EPOLLIN, doors + i);
    for (;;) {
        int n = epoll_wait(polled, seen, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int *door = seen[i].data.ptr;
            if (door < doors || door >= doors + DOORS) turn(door, seen[i].events);
            else
                for (int fd; (fd = accept4(*door, NULL, NULL, SOCK_NONBLOCK)) >= 0;) welcome(fd);
        }
    }
}
