/* TCP that is opaque to the proxy between: many short connections, or many octets on few.

   tcp_load serve PORT...                          on 127.0.0.1
   tcp_load connect PORT SECONDS PARALLEL          connect, send 64 octets, have them back, close; again and again
   tcp_load down|up PORT SECONDS CONNECTIONS       octets one way, in blocks whose size both ends count

   Each of the latter prints RESULT {json}; requests are connections, or whole blocks. A connection has failed that did not bring back its very
   octets or was closed, a block whose size was not what was asked for. Bulk is counted, not copied, at its receiver, and sent from one memory file. */

#include "ends.h"

enum { MESSAGE = 64, BLOCK = 1 << 26 };
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

static int serves, port;
static char kind;
static uint64_t numbered, requests, failed, moved;

/* Sends what is due; what the socket does not take waits for its next event. */
static void flush(End *end) {
    ssize_t n = 0;
    while (end->out && (n = send(end->fd, (char *)&end->message + MESSAGE - end->out, end->out, 0)) > 0) end->out -= n;
    while (!end->out && end->sending) {
        if ((n = send_some(end->fd, end->sending)) <= 0) break;
        end->sending -= n;
        if (!serves) moved += n;
    }
    int waits = end->out || end->sending;
    if (waits && n < 0 && errno != EAGAIN) end->broken = 1;
    if (waits != end->waits) rewatch(end->fd, EPOLLIN | (waits ? EPOLLOUT : 0), end);
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
    took(now_us() - end->began);
    if (well) requests++;
    else failed++, end->broken = 1;
    if (kind == ECHO) end->broken = 1; /* which closes it */
    else if (well) ask(end);
}

static void on_event(End *end) {
    ssize_t n;
    int bulk = end->taking > 0;
    if (bulk) n = count_some(end->fd, CHUNK);
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

static End *adopt(End *end, int fd) {
    if (!end) die("malloc");
    *end = (End){.fd = fd};
    watch(fd, EPOLLIN, end);
    return end;
}

static void welcome(int fd) {
    adopt(malloc(sizeof(End)), fd);
}

/* The next connection of the load, in the same place. */
static void begin(End *end) {
    ask(adopt(end, dial(loopback(0, port), 1)));
}

static void turn(void *who, unsigned events) {
    End *end = who;
    if (events & EPOLLOUT) flush(end);
    if (events & ~EPOLLOUT) on_event(end);
    if (!end->broken) return;
    close(end->fd);
    if (serves) free(end);
    else begin(end);
}

static int load(double seconds, int connections) {
    End *ends = calloc(connections, sizeof *ends);
    uint64_t began = now_us(), until = began + seconds * 1e6;
    if (!ends) die("calloc");
    for (int i = 0; i < connections; i++) begin(ends + i);
    while (now_us() < until) look(turn);
    printf("RESULT {\"requests\":%llu,\"micros\":%llu,\"failed\":%llu,\"p50_us\":%u,\"p99_us\":%u,\"moved\":%llu}\n",
           (unsigned long long)requests, (unsigned long long)(now_us() - began), (unsigned long long)failed, percentile(0.5),
           percentile(0.99), (unsigned long long)moved);
    return 0;
}

int main(int count, char **words) {
    prepare();
    serves = count > 2 && count < 3 + DOORS && strcmp(words[1], "serve") == 0;
    if (serves) serve(count - 2, words + 2, welcome, turn);
    kind = count != 5 ? 0 : !strcmp(words[1], "connect") ? ECHO : !strcmp(words[1], "down") ? DOWN : !strcmp(words[1], "up") ? UP : 0;
    if (kind) {
        port = atoi(words[2]);
        return load(atof(words[3]), atoi(words[4]));
    }
    fprintf(stderr, "usage: tcp_load serve PORT... | connect PORT SECONDS PARALLEL | down|up PORT SECONDS CONNECTIONS\n");
    return 2;
}
