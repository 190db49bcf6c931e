/* HTTP/1.1 load over keep-alive connections: at a fixed rate, or as fast as it is answered.

   http_load [HOST:]PORT SECONDS CONNECTIONS RATE HEAD SEED BODY [UPLOAD [fresh]]      prints RESULT {json}

   RATE: requests a second, 0 as fast as answered. At a rate, requests fall due evenly, each goes to the connection that has been idle longest,
   and its latency counts from when it was due, not from when a connection was free for it: a proxy that stalls shows in every request that
   waited meanwhile. What is not answered two seconds after the last was due has failed.
   HEAD: a file with the whole head; each run of eight @ in it is eight digits that are new in every request, by SEED.
   BODY: octets that the body of an answer must have. UPLOAD: octets of body that follow each head. fresh: each request has a connection of its
   own, from one of many loopback addresses in turn, so that ports do not run out; dialling it counts.
   A request has failed unless its answer is 200 with a Content-Length of BODY and just so many octets behind it; then the connection is made anew. */

#include "ends.h"
#include <sys/timerfd.h>

enum { HEAD = 8192, ANSWER = 16384, CONNECTIONS = 1024, PLACES = 16 };
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
static int fresh, ticking, places[PLACES], place_count;
static struct sockaddr_in to;
static unsigned head_size;
static char head[HEAD];
static uint64_t body_size, upload_size, numbered, requests, failed, down, up, reconnected;
static uint32_t seed;

static void begin(Caller *c) {
    c->fd = dial(to, fresh);
    c->waits = 0;
    watch(c->fd, EPOLLIN, c);
}

static void rest(Caller *c) {
    c->busy = 0;
    idle[(idle_first + idle_count++) % CONNECTIONS] = c - callers;
}

/* The request under way is answered, well or not. */
static void settle(Caller *c, int well) {
    took((now_ns() - c->due) / 1000);
    if (well) requests++;
    else failed++;
    if (!well || fresh) close(c->fd);
    if (!well && !fresh) {
        begin(c);
        reconnected++;
    }
    rest(c);
}

static void flush(Caller *c) {
    ssize_t n = 0;
    while (c->sent < c->size && (n = send(c->fd, c->head + c->sent, c->size - c->sent, 0)) > 0) c->sent += n;
    while (c->sent == c->size && c->upload && (n = send_some(c->fd, c->upload)) > 0) c->upload -= n, up += n;
    int waits = n < 0 && errno == EAGAIN; /* any other fault shows when it is read */
    if (waits != c->waits) rewatch(c->fd, EPOLLIN | (waits ? EPOLLOUT : 0), c);
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
    if (fresh) begin(c);
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
        n = count_some(c->fd, CHUNK);
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
        return begin(c);
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

/* What came for a caller, or the next tick of the clock. */
static void turn(void *who, unsigned events) {
    uint64_t ticks;
    Caller *c = who;
    if (!c) {
        if (read(ticking, &ticks, sizeof ticks) < 0 && errno != EAGAIN) die("timerfd");
        return;
    }
    if (events & EPOLLOUT && c->busy) flush(c);
    if (events & ~EPOLLOUT) on_answer(c);
}

/* Requests fall due evenly, and wait for a connection to be free. */
static void at_rate(uint64_t began, double seconds, double rate, int connections) {
    uint64_t pace = 1e9 / rate, all = seconds * 1e9 / pace, due = 0, last = began + seconds * 1e9 + PATIENCE * 1000;
    struct itimerspec every = {{pace / 1000000000, pace % 1000000000}, {began / 1000000000, began % 1000000000}};
    ticking = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    if (timerfd_settime(ticking, TFD_TIMER_ABSTIME, &every, NULL)) die("timerfd");
    watch(ticking, EPOLLIN, NULL);
    while (due < all || idle_count < connections) {
        uint64_t now = now_ns();
        if (now > last) break;
        for (; due < all && idle_count && began + due * pace <= now; due++) request(began + due * pace);
        look(turn);
    }
    failed += all - due + connections - idle_count;
}

static void as_answered(uint64_t began, double seconds) {
    uint64_t ends = began + seconds * 1e9;
    for (uint64_t now; (now = now_ns()) < ends; look(turn))
        while (idle_count) request(now);
}

static void read_head(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) die(path);
    head_size = fread(head, 1, HEAD, file);
    for (char *at = head; place_count < PLACES && (at = memmem(at, head + head_size - at, "@@@@@@@@", 8)); at += 8)
        places[place_count++] = at - head;
}

int main(int count, char **words) {
    int connections = count > 3 ? atoi(words[3]) : 0;
    if (count < 8 || count > 10 || (count == 10 && strcmp(words[9], "fresh")) || connections < 1 || connections > CONNECTIONS) {
        fprintf(stderr, "usage: http_load [HOST:]PORT SECONDS CONNECTIONS RATE HEAD SEED BODY [UPLOAD [fresh]]\n");
        return 2;
    }
    double seconds = atof(words[2]), rate = atof(words[4]);
    char *port = strchr(words[1], ':');
    if (port) *port++ = 0;
    to = loopback(0, atoi(port ? port : words[1]));
    if (port) to.sin_addr.s_addr = inet_addr(words[1]);
    seed = atoi(words[6]), body_size = atoll(words[7]), upload_size = count > 8 ? atoll(words[8]) : 0, fresh = count == 10;
    read_head(words[5]);
    prepare();
    for (int i = 0; i < connections; i++) {
        if (!fresh) begin(callers + i);
        rest(callers + i);
    }

    uint64_t began = now_ns() + 1000000;
    if (rate > 0) at_rate(began, seconds, rate, connections);
    else as_answered(began, seconds);
    uint64_t whole = (now_ns() - began) / 1000;
    printf("RESULT {\"requests\":%llu,\"micros\":%llu,\"failed\":%llu,\"p50_us\":%u,\"p90_us\":%u,\"p99_us\":%u,\"p999_us\":%u,\"most_us\":%u,"
           "\"over_5ms\":%llu,\"over_20ms\":%llu,\"down\":%llu,\"up\":%llu,\"reconnected\":%llu}\n",
           (unsigned long long)requests, (unsigned long long)whole, (unsigned long long)failed, percentile(0.5), percentile(0.9),
           percentile(0.99), percentile(0.999), percentile(1), slower(5000), slower(20000), (unsigned long long)down,
           (unsigned long long)up, (unsigned long long)reconnected);
    return 0;
}
