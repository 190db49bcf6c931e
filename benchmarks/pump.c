/* The floor of proxies: octets from one socket to the other, nothing read, judged, or counted.

   pump LISTEN_PORT TARGET_PORT [--splice]      127.0.0.1 to 127.0.0.1, until it is ended

   A caller's connection has one of its own to the target. Each direction holds at most BUFFER octets and reads no more while the other side does
   not take them; with --splice it goes through a pipe as soon as a whole buffer came at once. A half that ends is handed on; a connection ends
   with both halves, or with an error. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, PIPE = 1 << 20, EVENTS = 256 };

struct Pair;

/* One socket, and what was read from it that the other side has not taken. */
typedef struct Side {
    struct Pair *pair;
    int fd, splices, pipe[2];
    unsigned asked; /* the events that epoll was last asked for; none: it does not know the socket, which would report its end for ever */
    int ended, told; /* it sent its end; the other side was told */
    size_t at, held;
    char *kept;
} Side;

typedef struct Pair {
    Side sides[2]; /* the caller's, the target's */
    int broken, connecting;
    struct Pair *next_dead;
} Pair;

static int polled, splices;
static char shared[BUFFER];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void ask(Side *s, unsigned events) {
    struct epoll_event e = {.events = events, .data.ptr = s};
    if (events == s->asked) return;
    if (epoll_ctl(polled, !s->asked ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL, s->fd, &e)) die("epoll_ctl");
    s->asked = events;
}

static Side *other(Side *s) {
    return s == s->pair->sides ? s + 1 : s - 1;
}

/* Hands on what is held of `s`, as much as is taken. */
static void hand_on(Side *s) {
    Side *to = other(s);
    while (s->held) {
        ssize_t n = s->splices ? splice(s->pipe[0], NULL, to->fd, NULL, s->held, SPLICE_F_NONBLOCK | SPLICE_F_MOVE)
                               : send(to->fd, s->kept + s->at, s->held, MSG_NOSIGNAL);
        if (n <= 0) {
            if (n == 0 || errno != EAGAIN) s->pair->broken = 1;
            return;
        }
        s->at += n, s->held -= n;
    }
    s->at = 0;
    free(s->kept), s->kept = NULL;
    if (s->ended && !s->told) shutdown(to->fd, SHUT_WR), s->told = 1;
}

/* Reads once, and sends at once what was read; what is not taken is held. */
static void take(Side *s) {
    int spliced = s->splices;
    ssize_t n = spliced ? splice(s->fd, NULL, s->pipe[1], NULL, PIPE, SPLICE_F_NONBLOCK | SPLICE_F_MOVE) : recv(s->fd, shared, BUFFER, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
        s->pair->broken = 1;
        return;
    }
    s->ended = n == 0;
    s->held = n;
    if (!spliced && n) {
        ssize_t sent = send(other(s)->fd, shared, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) s->pair->broken = 1;
        s->held -= sent > 0 ? sent : 0;
        if (s->held && !(s->kept = malloc(s->held))) die("malloc");
        if (s->held) memcpy(s->kept, shared + n - s->held, s->held);
        if (!s->held && n == BUFFER && splices) {
            if (pipe2(s->pipe, O_NONBLOCK)) die("pipe");
            fcntl(s->pipe[0], F_SETPIPE_SZ, PIPE); /* as large as a user without rights gets it */
            s->splices = 1;
        }
        return;
    }
    hand_on(s);
}

static void settle(Pair *p) {
    for (int i = 0; i < 2 && !p->broken; i++) {
        Side *s = p->sides + i;
        int reads = !s->held && !s->ended && !p->connecting;
        ask(s, (reads ? EPOLLIN : 0) | (other(s)->held || (p->connecting && i) ? EPOLLOUT : 0));
    }
}

static void on_event(Side *s, unsigned events) {
    Pair *p = s->pair;
    p->connecting = 0; /* only the target's socket was asked for, and one that cannot be reached reports EPOLLERR */
    if (!p->broken && events & EPOLLOUT) hand_on(other(s));
    if (!p->broken && events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !s->held && !s->ended) take(s);
    if (events & EPOLLERR) p->broken = 1;
    p->broken |= p->sides[0].told && p->sides[1].told;
    settle(p);
}

static int local(int port, int listens) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (listens && (bind(fd, (void *)&to, sizeof to) || listen(fd, 1024))) die("127.0.0.1");
    if (!listens && connect(fd, (void *)&to, sizeof to) && errno != EINPROGRESS) die("connect");
    return fd;
}

static void begin(int caller, int target) {
    Pair *p = calloc(1, sizeof *p);
    int one = 1;
    if (!p) die("calloc");
    p->connecting = 1;
    for (int i = 0; i < 2; i++) {
        Side *s = p->sides + i;
        *s = (Side){.pair = p, .fd = i ? local(target, 0) : caller};
        setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    settle(p);
}

static void end(Pair *p) {
    for (int i = 0; i < 2; i++) {
        close(p->sides[i].fd);
        if (p->sides[i].splices) close(p->sides[i].pipe[0]), close(p->sides[i].pipe[1]);
        free(p->sides[i].kept);
    }
    free(p);
}

int main(int count, char **words) {
    struct epoll_event seen[EVENTS], e = {.events = EPOLLIN, .data.ptr = NULL};
    struct rlimit files;
    if (count < 3 || (count == 4 && strcmp(words[3], "--splice")) || count > 4) {
        fprintf(stderr, "usage: pump LISTEN_PORT TARGET_PORT [--splice]\n");
        return 2;
    }
    splices = count == 4;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int door = local(atoi(words[1]), 1), target = atoi(words[2]);
    signal(SIGPIPE, SIG_IGN); /* splice has no MSG_NOSIGNAL */
    polled = epoll_create1(0);
    if (epoll_ctl(polled, EPOLL_CTL_ADD, door, &e)) die("epoll_ctl");
    for (;;) {
        Pair *dead = NULL;
        int n = epoll_wait(polled, seen, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            Side *s = seen[i].data.ptr;
            if (!s) {
                for (int fd; (fd = accept4(door, NULL, NULL, SOCK_NONBLOCK)) >= 0;) begin(fd, target);
                continue;
            }
            int was = s->pair->broken;
            if (!was) on_event(s, seen[i].events);
            if (!was && s->pair->broken) s->pair->next_dead = dead, dead = s->pair;
        }
        for (Pair *p; (p = dead); end(p)) dead = p->next_dead; /* not before: both sides may be among the events */
    }
}
