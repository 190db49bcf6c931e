/* A service over HTTP/1.1 that sends and takes large bodies at little cost, so that the proxy between is what saturates.

   http_serve PORT...      on 127.0.0.1

   GET …/N is answered by N octets; a request with a body, once all of it has come, by its size in 20 digits. */

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
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD = 16384, CHUNK = 1 << 20, PORTS = 8 };

typedef struct {
    int fd, waits, broken;
    unsigned have, out; /* of the head that comes, of the head that goes */
    uint64_t taken, taking, sending; /* of bodies */
    char in[HEAD + 1], answer[256];
} Caller;

static int polled, octets; /* octets: a memory file, which sendfile sends without copying */

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Sends what is due; what the socket does not take waits for its next event. */
static void flush(Caller *c) {
    ssize_t n = 0;
    while (c->out && (n = send(c->fd, c->answer, c->out, MSG_NOSIGNAL | (c->sending ? MSG_MORE : 0))) > 0)
        memmove(c->answer, c->answer + n, c->out -= n);
    while (!c->out && c->sending) {
        off_t from = 0;
        n = sendfile(c->fd, octets, &from, c->sending < CHUNK ? c->sending : CHUNK);
        if (n <= 0) break;
        c->sending -= n;
    }
    int waits = c->out || c->sending;
    if (waits && n < 0 && errno != EAGAIN) c->broken = 1;
    struct epoll_event e = {.events = waits ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    if (waits != c->waits) epoll_ctl(polled, EPOLL_CTL_MOD, c->fd, &e);
    c->waits = waits;
}

static void answer(Caller *c, const char *text, uint64_t size) {
    c->sending = text ? 0 : size;
    c->out = snprintf(c->answer, sizeof c->answer, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %llu\r\n\r\n%s",
                      (unsigned long long)size, text ? text : "");
    flush(c);
}

static void take_body(Caller *c) {
    char size[32];
    if (c->taken < c->taking) return;
    snprintf(size, sizeof size, "%020llu", (unsigned long long)c->taken);
    c->taken = c->taking = 0;
    answer(c, size, 20);
}

static void on_head(Caller *c, char *end) {
    uint64_t behind = c->have - (end + 4 - c->in);
    c->have = 0;
    end[2] = 0;
    char *length = strcasestr(c->in, "\r\ncontent-length:"), *target_end = strstr(c->in, " HTTP/1.1\r\n");
    if (!target_end) {
        c->broken = 1;
        return;
    }
    *target_end = 0;
    char *number = strrchr(c->in, '/');
    c->taking = length ? strtoull(length + 17, NULL, 10) : 0;
    c->taken = behind;
    if (c->taken > c->taking) c->broken = 1; /* requests are not sent before their turn */
    else if (c->taking) take_body(c);
    else answer(c, NULL, number ? strtoull(number + 1, NULL, 10) : 0);
}

static void on_event(Caller *c, unsigned events) {
    if (events & EPOLLOUT) return flush(c);
    int discards = c->taken < c->taking; /* bodies are counted, not copied */
    uint64_t rest = c->taking - c->taken;
    ssize_t n = discards ? recv(c->fd, NULL, rest < CHUNK ? rest : CHUNK, MSG_TRUNC) : recv(c->fd, c->in + c->have, HEAD - c->have, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        c->broken = 1;
        return;
    }
    if (discards) {
        c->taken += n;
        return take_body(c);
    }
    c->have += n;
    c->in[c->have] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (end) on_head(c, end);
    else if (c->have == HEAD) c->broken = 1;
}

static void adopt(int fd) {
    Caller *c = calloc(1, sizeof *c);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    int one = 1;
    if (!c) die("calloc");
    c->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(polled, EPOLL_CTL_ADD, fd, &e)) die("epoll_ctl");
}

static int open_door(int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (void *)&at, sizeof at) || listen(fd, 1024)) die("127.0.0.1");
    return fd;
}

int main(int count, char **words) {
    int doors[PORTS];
    struct epoll_event seen[64];
    if (count < 2 || count > PORTS + 1) {
        fprintf(stderr, "usage: http_serve PORT...\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    octets = memfd_create("octets", 0);
    polled = epoll_create1(0);
    if (octets < 0 || ftruncate(octets, CHUNK)) die("memfd");
    for (int i = 1; i < count; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = doors + i - 1};
        doors[i - 1] = open_door(atoi(words[i]));
        epoll_ctl(polled, EPOLL_CTL_ADD, doors[i - 1], &e);
    }
    for (;;) {
        int n = epoll_wait(polled, seen, 64, -1);
        for (int i = 0; i < n; i++) {
            int *door = seen[i].data.ptr;
            if (door >= doors && door < doors + PORTS) {
                for (int fd; (fd = accept4(*door, NULL, NULL, SOCK_NONBLOCK)) >= 0;) adopt(fd);
                continue;
            }
            Caller *c = seen[i].data.ptr;
            on_event(c, seen[i].events);
            if (!c->broken) continue;
            close(c->fd);
            free(c);
        }
    }
}
