/* HTTP/1.1 load over keep-alive connections: at a fixed rate, or as fast as it is answered.

   http_load [HOST:]PORT SECONDS CONNECTIONS RATE HEAD SEED BODY [UPLOAD [fresh]]      prints RESULT {json}

   RATE: requests a second, 0 as fast as answered. At a rate, requests fall due evenly, each goes to the connection that has been idle longest,
   and its latency counts from when it was due, not from when a connection was free for it: a proxy that stalls shows in every request that
   waited meanwhile. What is not answered two seconds after the last was due has failed.
   HEAD: a file with the whole head; each run of eight @ in it is eight digits that are new in every request, by SEED.
   BODY: octets that the body of an answer must have. UPLOAD: octets of body that follow each head. fresh: each request has a connection of its
   own, from one of many loopback addresses in turn, so that ports do not run out; dialling it counts.
   A request has failed unless its answer is 200 with a Content-Length of BODY and just so many octets behind it; then the connection is made anew. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 8192, ANSWER = 16384, CHUNK = 1 << 18, CONNECTIONS = 1024, MAX_MICROS = 1 << 21, PLACES = 16, SOURCES = 64 };
#define PATIENCE 2000000ull

typedef struct {
    int fd, busy, waits;   /* waits: for room in the socket */
    uint64_t due;          /* of the request under way, in nanoseconds */
    unsigned size, sent;   /* of the head */
    uint64_t upload, body; /* octets still to be sent, still to come; the latter once `have` is a whole head */
    unsigned have;
    int in_body;
    char head[HEAD], answer[ANSWER + 1];
} Caller;

static Caller callers[CONNECTIONS];
static int idle[CONNECTIONS], idle_first, idle_count; /* a ring: the longest idle first */
static int polled, fresh, places[PLACES], place_count;
static struct sockaddr_in to = {.sin_family = AF_INET};
static unsigned head_size;
static char head[HEAD], zeros[CHUNK];
static uint64_t body_size, upload_size, numbered, requests, failed, down, up, reconnected;
static uint32_t seed, micros[MAX_MICROS];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void dial(Caller *c) {
    static uint32_t source;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + source++ % SOURCES)};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    c->waits = 0;
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (fresh && bind(c->fd, (void *)&from, sizeof from)) die("bind");
    if (connect(c->fd, (void *)&to, sizeof to)) die("127.0.0.1");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(polled, EPOLL_CTL_ADD, c->fd, &e)) die("epoll_ctl");
}

static void rest(Caller *c) {
    c->busy = 0;
    idle[(idle_first + idle_count++) % CONNECTIONS] = c - callers;
}

/* The request under way is answered, well or not. */
static void settle(Caller *c, int well) {
    uint64_t now = now_ns(), took = (now - c->due) / 1000;
    if (well) requests++;
    else failed++;
    micros[took < MAX_MICROS ? took : MAX_MICROS - 1]++;
    if (!well || fresh) close(c->fd);
    if (!well && !fresh) {
        dial(c);
        reconnected++;
    }
    rest(c);
}

static void flush(Caller *c) {
    ssize_t n = 0;
    while (c->sent < c->size && (n = send(c->fd, c->head + c->sent, c->size - c->sent, MSG_NOSIGNAL)) > 0) c->sent += n;
    while (c->sent == c->size && c->upload && (n = send(c->fd, zeros, c->upload < CHUNK ? c->upload : CHUNK, MSG_NOSIGNAL)) > 0)
        c->upload -= n, up += n;
    int waits = n < 0 && errno == EAGAIN; /* any other fault shows when it is read */
    struct epoll_event e = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.ptr = c};
    if (waits != c->waits) epoll_ctl(polled, EPOLL_CTL_MOD, c->fd, &e);
    c->waits = waits;
}

static void request(uint64_t due) {
    static const char digits[] = "0123456789abcdef";
    Caller *c = callers + idle[idle_first];
    idle_first = (idle_first + 1) % CONNECTIONS, idle_count--;
    memcpy(c->head, head, head_size);
    for (int i = 0; i < place_count; i++) {
        uint32_t word = (uint32_t)(++numbered * 0x9E3779B1u) ^ seed * 0x85EBCA77u; /* odd factors: a permutation */
        for (int d = 0; d < 8; d++) c->head[places[i] + d] = digits[word >> (28 - 4 * d) & 15];
    }
    c->size = head_size, c->sent = 0, c->upload = upload_size;
    c->have = c->in_body = 0;
    c->due = due, c->busy = 1;
    if (fresh) dial(c);
    flush(c);
}

/* What a Content-Length says, or -1 unless there is one. */
static int64_t length(const char *answer) {
    const char *at = strcasestr(answer, "\r\ncontent-length:");
    char *end;
    if (!at) return -1;
    int64_t size = strtoll(at + 17, &end, 10);
    return *end == '\r' && !strcasestr(at + 17, "\r\ncontent-length:") ? size : -1;
}

static void on_answer(Caller *c) {
    ssize_t n;
    while (c->busy && c->in_body) {
        n = recv(c->fd, NULL, CHUNK, MSG_TRUNC); /* counted, not copied */
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0 || (uint64_t)n > c->body) return settle(c, 0);
        c->body -= n, down += n;
        if (!c->body) return settle(c, c->upload == 0 && c->sent == c->size);
        if (n < CHUNK / 4) return;
    }
    n = recv(c->fd, c->answer + c->have, ANSWER - c->have, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (!c->busy) { /* closed while idle: no request is lost, unless octets came that nobody asked for */
        failed += n > 0;
        close(c->fd);
        reconnected++;
        return dial(c);
    }
    if (n <= 0) return settle(c, 0);
    c->have += n;
    c->answer[c->have] = 0;
    char *end = strstr(c->answer, "\r\n\r\n");
    if (!end) {
        if (c->have == ANSWER) settle(c, 0);
        return;
    }
    uint64_t came = c->have - (end + 4 - c->answer);
    end[2] = 0;
    if (strncmp(c->answer, "HTTP/1.1 200", 12) || length(c->answer) != (int64_t)body_size || came > body_size) return settle(c, 0);
    c->body = body_size - came, down += came, c->in_body = 1;
    if (!c->body) settle(c, c->upload == 0 && c->sent == c->size);
}

/* How many took longer. */
static unsigned long long slower(unsigned than) {
    unsigned long long found = 0;
    for (int i = than + 1; i < MAX_MICROS; i++) found += micros[i];
    return found;
}

static unsigned percentile(double part) {
    uint64_t all = 0, below = 0;
    for (int i = 0; i < MAX_MICROS; i++) all += micros[i];
    for (int i = 0; i < MAX_MICROS; i++)
        if ((below += micros[i]) >= all * part && below) return i;
    return 0;
}

/* Answers what came; returns at the next tick of the clock, or after a while. */
static void turn(int ticking) {
    struct epoll_event seen[256];
    uint64_t ticks;
    int n = epoll_wait(polled, seen, 256, 100);
    for (int i = 0; i < n; i++) {
        Caller *c = seen[i].data.ptr;
        if (!c) {
            if (read(ticking, &ticks, sizeof ticks) < 0 && errno != EAGAIN) die("timerfd");
            continue;
        }
        if (seen[i].events & EPOLLOUT && c->busy) flush(c);
        if (seen[i].events & ~EPOLLOUT) on_answer(c);
    }
}

int main(int count, char **words) {
    if (count < 8 || count > 10 || (count == 10 && strcmp(words[9], "fresh"))) {
        fprintf(stderr, "usage: http_load [HOST:]PORT SECONDS CONNECTIONS RATE HEAD SEED BODY [UPLOAD [fresh]]\n");
        return 2;
    }
    double seconds = atof(words[2]), rate = atof(words[4]);
    int connections = atoi(words[3]), ticking = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    FILE *file = fopen(words[5], "r");
    if (!file || connections < 1 || connections > CONNECTIONS) die(words[5]);
    head_size = fread(head, 1, HEAD, file);
    char *port = strchr(words[1], ':');
    if (port) *port++ = 0;
    to.sin_port = htons(atoi(port ? port : words[1])), to.sin_addr.s_addr = port ? inet_addr(words[1]) : htonl(INADDR_LOOPBACK);
    seed = atoi(words[6]), body_size = atoll(words[7]), upload_size = count > 8 ? atoll(words[8]) : 0, fresh = count == 10;
    for (char *at = head; place_count < PLACES && (at = memmem(at, head + head_size - at, "@@@@@@@@", 8)); at += 8)
        places[place_count++] = at - head;
    polled = epoll_create1(0);
    for (int i = 0; i < connections; i++) {
        if (!fresh) dial(callers + i);
        rest(callers + i);
    }

    uint64_t began = now_ns() + 1000000, due = 0, all = UINT64_MAX, pace = rate > 0 ? 1e9 / rate : 0, ends = began + seconds * 1e9;
    if (rate > 0) {
        struct itimerspec every = {{pace / 1000000000, pace % 1000000000}, {began / 1000000000, began % 1000000000}};
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
        if (timerfd_settime(ticking, TFD_TIMER_ABSTIME, &every, NULL) || epoll_ctl(polled, EPOLL_CTL_ADD, ticking, &e)) die("timerfd");
        all = seconds * 1e9 / pace;
        while (due < all || idle_count < connections) {
            uint64_t now = now_ns();
            if (now > ends + PATIENCE * 1000) break;
            for (; due < all && idle_count && began + due * pace <= now; due++) request(began + due * pace);
            turn(ticking);
        }
        failed += all - due + connections - idle_count;
    } else {
        for (uint64_t now; (now = now_ns()) < ends; turn(ticking))
            while (idle_count) request(now);
    }
    uint64_t took = (now_ns() - began) / 1000;
    printf("RESULT {\"requests\":%llu,\"micros\":%llu,\"failed\":%llu,\"p50_us\":%u,\"p90_us\":%u,\"p99_us\":%u,\"p999_us\":%u,\"most_us\":%u,"
           "\"over_5ms\":%llu,\"over_20ms\":%llu,"
           "\"down\":%llu,\"up\":%llu,\"reconnected\":%llu}\n",
           (unsigned long long)requests, (unsigned long long)took, (unsigned long long)failed, percentile(0.5), percentile(0.9),
           percentile(0.99), percentile(0.999), percentile(1), slower(5000), slower(20000), (unsigned long long)down, (unsigned long long)up, (unsigned long long)reconnected);
    return 0;
}
