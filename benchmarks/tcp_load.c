/* TCP that is opaque to the proxy between: many short connections, or many octets on few.

   tcp_load serve PORT...                          on 127.0.0.1
   tcp_load connect PORT SECONDS PARALLEL          connect, send 64 octets, have them back, close; again and again
   tcp_load down|up PORT SECONDS CONNECTIONS       octets one way, in blocks whose size both ends count

   Each of the latter prints RESULT {json}; requests are connections, or whole blocks. A connection has failed that did not bring back its very
   octets or was closed, a block whose size was not what was asked for. Bulk is counted, not copied, at its receiver, and sent from one memory file. */

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
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 64, BLOCK = 1 << 26, CHUNK = 1 << 20, PORTS = 8, MAX_MICROS = 1 << 20, SOURCES = 64 };
enum { ECHO = 'E', DOWN = 'D', UP = 'U' };

/* Both ends: a message of 64 octets begins a block; behind UP come as many octets as its second word says, behind DOWN as many are answered. */
typedef struct {
    char kind, unused[7];
    uint64_t size, number, spare[5];
} Message;

typedef struct {
    int fd, waits, broken;
    unsigned have, out; /* of the message that comes, of the one that goes */
    Message in, message;
    uint64_t taking, sending, taken; /* octets of the block still to come, to go; came */
    uint64_t began;
} End;

static int polled, octets, serves, port;
static char kind;
static uint64_t numbered, requests, failed, moved;
static uint32_t micros[MAX_MICROS];

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Sends what is due; what the socket does not take waits for its next event. */
static void flush(End *end) {
    ssize_t n = 0;
    while (end->out && (n = send(end->fd, (char *)&end->message + MESSAGE - end->out, end->out, MSG_NOSIGNAL)) > 0) end->out -= n;
    while (!end->out && end->sending) {
        off_t from = 0;
        n = sendfile(end->fd, octets, &from, end->sending < CHUNK ? end->sending : CHUNK);
        if (n <= 0) break;
        end->sending -= n;
        if (!serves) moved += n;
    }
    int waits = end->out || end->sending;
    if (waits && n < 0 && errno != EAGAIN && errno != ENOTCONN) end->broken = 1;
    struct epoll_event e = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.ptr = end};
    if (waits != end->waits) epoll_ctl(polled, EPOLL_CTL_MOD, end->fd, &e);
    end->waits = waits;
}

static void say(End *end, char what, uint64_t size) {
    end->message = (Message){.kind = what, .size = size, .number = ++numbered};
    end->out = MESSAGE;
    flush(end);
}

/* The service: what a whole message asks for. */
static void obey(End *end) {
    end->have = 0;
    if (end->in.kind == ECHO) {
        end->message = end->in;
        end->out = MESSAGE;
        flush(end);
    } else if (end->in.kind == DOWN) {
        end->sending = end->in.size;
        flush(end);
    } else if (end->in.kind == UP) end->taking = end->in.size, end->taken = 0;
    else end->broken = 1;
}

/* The load: asks for the next block, or waits for the echo. */
static void ask(End *end) {
    end->began = now_us();
    end->have = 0;
    end->taken = 0, end->taking = kind == DOWN ? BLOCK : 0;
    end->sending = kind == UP ? BLOCK : 0;
    say(end, kind, kind == ECHO ? MESSAGE : BLOCK);
}

static void settle(End *end, int well) {
    uint64_t took = now_us() - end->began;
    if (well) requests++;
    else failed++, end->broken = 1;
    micros[took < MAX_MICROS ? took : MAX_MICROS - 1]++;
    if (kind == ECHO) end->broken = 1; /* which closes it */
    else if (well) ask(end);
}

static void on_event(End *end) {
    ssize_t n;
    int bulk = end->taking > 0;
    if (bulk) n = recv(end->fd, NULL, CHUNK, MSG_TRUNC);
    else n = recv(end->fd, (char *)&end->in + end->have, MESSAGE - end->have, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 || (bulk && (uint64_t)n > end->taking)) {
        if (!serves) settle(end, 0);
        end->broken = 1;
        return;
    }
    if (!bulk) {
        if ((end->have += n) < MESSAGE) return;
        if (serves) obey(end);
        else if (kind == ECHO) settle(end, memcmp(&end->in, &end->message, MESSAGE) == 0);
        else settle(end, kind == UP && end->in.kind == UP && end->in.size == BLOCK && !end->sending && !end->out);
        return;
    }
    end->taking -= n, end->taken += n;
    if (!serves) moved += n;
    if (end->taking) return;
    if (serves) say(end, UP, end->taken);
    else settle(end, 1);
}

static struct sockaddr_in address(uint32_t host, int number) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(number), .sin_addr.s_addr = htonl(host)};
}

static End *adopt(End *end, int fd) {
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = end};
    int one = 1;
    if (!end) die("calloc");
    *end = (End){.fd = fd};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(polled, EPOLL_CTL_ADD, fd, &e)) die("epoll_ctl");
    return end;
}

/* From many addresses of the loopback network in turn, since each has only so many ports while old connections wait out their time. */
static void dial(End *end) {
    static uint32_t source;
    struct sockaddr_in to = address(INADDR_LOOPBACK, port), from = address(INADDR_LOOPBACK + 1 + source++ % SOURCES, 0);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (void *)&from, sizeof from)) die("bind");
    if (connect(fd, (void *)&to, sizeof to) && errno != EINPROGRESS) die("127.0.0.1");
    ask(adopt(end, fd));
}

static void serve(int count, char **ports) {
    int doors[PORTS];
    struct epoll_event seen[64];
    serves = 1;
    for (int i = 0; i < count; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = doors + i};
        struct sockaddr_in at = address(INADDR_LOOPBACK, atoi(ports[i]));
        int one = 1;
        doors[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        setsockopt(doors[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(doors[i], (void *)&at, sizeof at) || listen(doors[i], 1024)) die("127.0.0.1");
        epoll_ctl(polled, EPOLL_CTL_ADD, doors[i], &e);
    }
    for (;;) {
        int n = epoll_wait(polled, seen, 64, -1);
        for (int i = 0; i < n; i++) {
            int *door = seen[i].data.ptr;
            if (door >= doors && door < doors + PORTS) {
                for (int fd; (fd = accept4(*door, NULL, NULL, SOCK_NONBLOCK)) >= 0;) adopt(malloc(sizeof(End)), fd);
                continue;
            }
            End *end = seen[i].data.ptr;
            if (seen[i].events & EPOLLOUT) flush(end);
            if (seen[i].events & ~EPOLLOUT) on_event(end);
            if (!end->broken) continue;
            close(end->fd);
            free(end);
        }
    }
}

static unsigned percentile(double part) {
    uint64_t all = 0, below = 0;
    for (int i = 0; i < MAX_MICROS; i++) all += micros[i];
    for (int i = 0; i < MAX_MICROS; i++)
        if ((below += micros[i]) >= all * part && below) return i;
    return 0;
}

static int load(double seconds, int connections) {
    struct epoll_event seen[64];
    End *ends = calloc(connections, sizeof *ends);
    uint64_t began = now_us(), until = began + seconds * 1e6;
    if (!ends) die("calloc");
    for (int i = 0; i < connections; i++) dial(ends + i);
    while (now_us() < until) {
        int n = epoll_wait(polled, seen, 64, 100);
        for (int i = 0; i < n; i++) {
            End *end = seen[i].data.ptr;
            if (seen[i].events & EPOLLOUT) flush(end);
            if (seen[i].events & ~EPOLLOUT) on_event(end);
            if (!end->broken) continue;
            close(end->fd);
            dial(end);
        }
    }
    printf("RESULT {\"requests\":%llu,\"micros\":%llu,\"failed\":%llu,\"p50_us\":%u,\"p99_us\":%u,\"moved\":%llu}\n",
           (unsigned long long)requests, (unsigned long long)(now_us() - began), (unsigned long long)failed, percentile(0.5),
           percentile(0.99), (unsigned long long)moved);
    return 0;
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN); /* sendfile has no MSG_NOSIGNAL */
    polled = epoll_create1(0);
    octets = memfd_create("octets", 0);
    if (octets < 0 || ftruncate(octets, CHUNK)) die("memfd");
    if (count > 2 && count < 3 + PORTS && strcmp(words[1], "serve") == 0) serve(count - 2, words + 2);
    kind = count == 5 ? strcmp(words[1], "connect") == 0 ? ECHO : strcmp(words[1], "down") == 0 ? DOWN : strcmp(words[1], "up") == 0 ? UP : 0 : 0;
    if (kind) {
        port = atoi(words[2]);
        return load(atof(words[3]), atoi(words[4]));
    }
    fprintf(stderr, "usage: tcp_load serve PORT... | connect PORT SECONDS PARALLEL | down|up PORT SECONDS CONNECTIONS\n");
    return 2;
}
