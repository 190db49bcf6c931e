/* The floor of proxies: octets from one socket to the other, nothing read, judged, or counted.

   pump LISTEN_PORT TARGET_PORT [--splice]      127.0.0.1 to 127.0.0.1, until it is ended

   A caller's connection has one of its own to the target. Each direction holds at most BUFFER octets and reads no more while the other side does
   not take them; with --splice it goes through a pipe as soon as a whole buffer came at once. A half that ends is handed on; a connection ends
   with both halves, or with an error. */

#include "ends.h"
#include <stddef.h>

enum { BUFFER = 1 << 16, PIPE = 1 << 20 };

typedef struct Pair Pair;

/* One socket, and what was read from it that the other side has not taken. */
typedef struct {
    Pair *pair;
    int fd, splices, pipe[2];
    unsigned asked;  /* the events that epoll was last asked for; none: it does not know the socket, which would report its end for ever */
    int ended, told; /* it sent its end; the other side was told */
    size_t at, held; /* in the buffer, or in the pipe */
    char buffer[BUFFER];
} Side;

struct Pair {
    Side sides[2]; /* the caller's, the target's */
    int broken, connecting;
    Pair *next;
};

static int splices;
static Pair *spare;

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
    int to = other(s)->fd;
    while (s->held) {
        ssize_t n = s->splices ? splice(s->pipe[0], NULL, to, NULL, s->held, SPLICE_F_NONBLOCK | SPLICE_F_MOVE) : send(to, s->buffer + s->at, s->held, 0);
        if (n <= 0) {
            s->pair->broken |= n == 0 || errno != EAGAIN;
            return;
        }
        s->at += n, s->held -= n;
    }
    if (s->ended && !s->told) shutdown(to, SHUT_WR), s->told = 1;
}

/* Reads once, and hands on at once. */
static void take(Side *s) {
    ssize_t n = s->splices ? splice(s->fd, NULL, s->pipe[1], NULL, PIPE, SPLICE_F_NONBLOCK | SPLICE_F_MOVE) : recv(s->fd, s->buffer, BUFFER, 0);
    if (n < 0) {
        s->pair->broken |= errno != EAGAIN;
        return;
    }
    s->ended = n == 0, s->held = n, s->at = 0;
    hand_on(s);
    if (splices && !s->splices && n == BUFFER && !s->held) {
        if (pipe2(s->pipe, O_NONBLOCK)) die("pipe");
        fcntl(s->pipe[0], F_SETPIPE_SZ, PIPE); /* as large as a user without rights gets it */
        s->splices = 1;
    }
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
    if (events & EPOLLOUT) hand_on(other(s));
    if (!p->broken && events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !s->held && !s->ended) take(s);
    p->broken |= (events & EPOLLERR) || (p->sides[0].told && p->sides[1].told);
    settle(p);
}

static void begin(int caller, int port) {
    struct sockaddr_in to = loopback(0, port);
    Pair *p = spare ? spare : malloc(sizeof *p);
    int one = 1, target = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (!p || target < 0) die("another connection");
    if (p == spare) spare = p->next;
    setsockopt(target, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(target, (void *)&to, sizeof to) && errno != EINPROGRESS) die("connect");
    p->broken = 0, p->connecting = 1;
    for (int i = 0; i < 2; i++) {
        memset(p->sides + i, 0, offsetof(Side, buffer));
        p->sides[i].pair = p, p->sides[i].fd = i ? target : caller;
    }
    settle(p);
}

static void end(Pair *p) {
    for (Side *s = p->sides; s < p->sides + 2; s++) {
        close(s->fd);
        if (s->splices) close(s->pipe[0]), close(s->pipe[1]);
    }
    p->next = spare, spare = p;
}

int main(int count, char **words) {
    struct epoll_event seen[EVENTS];
    splices = count == 4 && !strcmp(words[3], "--splice");
    if (count != 3 + splices) {
        fprintf(stderr, "usage: pump LISTEN_PORT TARGET_PORT [--splice]\n");
        return 2;
    }
    prepare();
    int door = open_door(atoi(words[1]));
    watch(door, EPOLLIN, NULL);
    for (;;) {
        Pair *dead = NULL;
        int n = epoll_wait(polled, seen, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            Side *s = seen[i].data.ptr;
            if (s && s->pair->broken) continue;
            if (s) on_event(s, seen[i].events);
            else
                for (int fd; (fd = accept4(door, NULL, NULL, SOCK_NONBLOCK)) >= 0;) begin(fd, atoi(words[2]));
            if (s && s->pair->broken) s->pair->next = dead, dead = s->pair;
        }
        for (Pair *p; (p = dead); end(p)) dead = p->next; /* not before: both sides may be among the events */
    }
}
