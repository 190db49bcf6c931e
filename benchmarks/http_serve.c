/* A service over HTTP/1.1 that sends and takes large bodies at little cost, so that the proxy between is what saturates.

   http_serve PORT...      on 127.0.0.1

   GET …/N is answered by N octets; a request with a body, once all of it has come, by its size in 20 digits. */

#include "ends.h"

enum { HEAD = 16384 };

typedef struct {
    int fd, waits, broken;
    unsigned have, out; /* of the head that comes, of the head that goes */
    uint64_t taken, taking, sending; /* of bodies */
    char in[HEAD + 1], answer[256];
} Caller;

/* Sends what is due; what the socket does not take waits for its next event. */
static void flush(Caller *c) {
    ssize_t n = 0;
    while (c->out && (n = send(c->fd, c->answer, c->out, c->sending ? MSG_MORE : 0)) > 0)
        memmove(c->answer, c->answer + n, c->out -= n);
    while (!c->out && c->sending) {
        if ((n = send_some(c->fd, c->sending)) <= 0) break;
        c->sending -= n;
    }
    int waits = c->out || c->sending;
    if (waits && n < 0 && errno != EAGAIN) c->broken = 1;
    if (waits != c->waits) rewatch(c->fd, waits ? EPOLLOUT : EPOLLIN, c);
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
    int in_body = c->taken < c->taking;
    ssize_t n = in_body ? count_some(c->fd, c->taking - c->taken) : recv(c->fd, c->in + c->have, HEAD - c->have, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        c->broken = 1;
        return;
    }
    if (in_body) {
        c->taken += n;
        return take_body(c);
    }
    c->have += n;
    c->in[c->have] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (end) on_head(c, end);
    else if (c->have == HEAD) c->broken = 1;
}

static void turn(void *who, unsigned events) {
    Caller *c = who;
    on_event(c, events);
    if (!c->broken) return;
    close(c->fd);
    free(c);
}

static void welcome(int fd) {
    Caller *c = calloc(1, sizeof *c);
    if (!c) die("calloc");
    c->fd = fd;
    watch(fd, EPOLLIN, c);
}

int main(int count, char **words) {
    if (count < 2 || count > DOORS + 1) {
        fprintf(stderr, "usage: http_serve PORT...\n");
        return 2;
    }
    prepare();
    serve(count - 1, words + 1, welcome, turn);
}
