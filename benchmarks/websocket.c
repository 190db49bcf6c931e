/* The two ends of WebSocket messages: short ones, each echoed before the next is sent.

   websocket serve PORT...                       on 127.0.0.1
   websocket load PORT SECONDS CONNECTIONS       prints RESULT {json}

   Frames are as RFC 6455 has them, the caller's masked; payloads have 64 to 125 octets, new in every message. A message has failed unless its very
   octets came back in one frame of text; an upgrade has unless it is answered 101 with the key's own accept. */

#include "ends.h"

enum { BUFFER = 8192, SHORTEST = 64, LONGEST = 125, TEXT = 0x81, MASKED = 0x80 };

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
static const char ASKED[] = "GET /orders/socket HTTP/1.1\r\nHost: orders\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://shop.example\r\n"
                            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n\r\n";
static const char AGREED[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n";

typedef struct {
    int fd, broken, upgraded;
    unsigned have, size; /* of what came; of the payload that goes */
    uint64_t began;
    unsigned char in[BUFFER + 1], payload[LONGEST];
} End;

static int serves, open_now, refused; /* connections of the load, and those whose upgrade was */
static uint64_t requests, failed, upgrades, numbered;

/* A few octets; a socket that does not take them is not read, which no end here does. */
static void say(End *end, const void *octets, size_t size) {
    if (send(end->fd, octets, size, 0) != (ssize_t)size) end->broken = 1;
}

static void send_frame(End *end, const unsigned char *payload, unsigned size) {
    unsigned char frame[LONGEST + 6] = {TEXT, size}, *at = frame + 2;
    uint32_t mask = serves ? 0 : (uint32_t)numbered * 0x9E3779B1u;
    if (!serves) frame[1] |= MASKED, memcpy(at, &mask, 4), at += 4;
    for (unsigned i = 0; i < size; i++) at[i] = payload[i] ^ ((unsigned char *)&mask)[i & 3];
    say(end, frame, at + size - frame);
}

static void send_message(End *end) {
    numbered++;
    end->size = SHORTEST + numbered % (LONGEST - SHORTEST + 1);
    memset(end->payload, 'a' + numbered % 26, end->size);
    snprintf((char *)end->payload, end->size, "{\"message\":%llu,\"from\":\"till-17\"}", (unsigned long long)numbered);
    end->began = now_us();
    send_frame(end, end->payload, end->size);
}

/* A whole frame: the service answers it, the load compares it. */
static void on_frame(End *end, unsigned char *payload, unsigned size, const unsigned char *mask) {
    for (unsigned i = 0; mask && i < size; i++) payload[i] ^= mask[i & 3];
    if (serves) return send_frame(end, payload, size);
    took(now_us() - end->began);
    if (size != end->size || memcmp(payload, end->payload, size)) {
        end->broken = 1;
        return;
    }
    requests++;
    send_message(end);
}

/* How many octets of what came are done with. */
static unsigned digest(End *end, unsigned char *at, unsigned have) {
    if (!end->upgraded) {
        unsigned char *ended = memmem(at, have, "\r\n\r\n", 4);
        if (!ended) return 0;
        ended[2] = 0;
        const char *head = (char *)at;
        int agreed = serves ? strcasestr(head, "\r\nSec-WebSocket-Key: " KEY "\r\n") && strcasestr(head, "\r\nUpgrade: websocket\r\n")
                            : !strncmp(head, "HTTP/1.1 101", 12) && strcasestr(head, "\r\nSec-WebSocket-Accept: " ACCEPT "\r\n");
        end->upgraded = agreed, end->broken = !agreed;
        if (agreed) upgrades++;
        if (agreed && serves) say(end, AGREED, sizeof AGREED - 1);
        if (agreed && !serves) send_message(end);
        return ended + 4 - at;
    }
    if (have < 2) return 0;
    unsigned masked = at[1] & MASKED ? 4 : 0, size = at[1] & ~MASKED;
    if (at[0] != TEXT || size > LONGEST || (masked != 0) != serves) {
        end->broken = 1;
        return 0;
    }
    if (have < 2 + masked + size) return 0;
    on_frame(end, at + 2 + masked, size, masked ? at + 2 : NULL);
    return 2 + masked + size;
}

static void on_event(End *end) {
    ssize_t n = recv(end->fd, end->in + end->have, BUFFER - end->have, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        end->broken = 1;
        return;
    }
    end->have += n;
    unsigned at = 0, used;
    while (!end->broken && at < end->have && (used = digest(end, end->in + at, end->have - at))) at += used;
    memmove(end->in, end->in + at, end->have -= at);
}

static End *adopt(int fd) {
    End *end = calloc(1, sizeof *end);
    if (!end) die("calloc");
    end->fd = fd;
    watch(fd, EPOLLIN, end);
    return end;
}

static void welcome(int fd) {
    adopt(fd);
}

static void turn(void *who, unsigned events) {
    End *end = who;
    on_event(end);
    if (!end->broken) return;
    failed++, open_now--, refused += !end->upgraded;
    close(end->fd);
    free(end);
}

static int load(int port, double seconds, int connections) {
    uint64_t began = now_us(), until = began + seconds * 1e6;
    open_now = connections;
    for (int i = 0; i < connections; i++) say(adopt(dial(loopback(0, port), 0)), ASKED, sizeof ASKED - 1);
    while (now_us() < until && open_now) look(turn);
    failed += connections - upgrades - refused; /* upgrades that nobody answered */
    printf("RESULT {\"requests\":%llu,\"micros\":%llu,\"failed\":%llu,\"p50_us\":%u,\"p99_us\":%u}\n", (unsigned long long)requests,
           (unsigned long long)(now_us() - began), (unsigned long long)failed, percentile(0.5), percentile(0.99));
    return 0;
}

int main(int count, char **words) {
    prepare();
    serves = count > 2 && count < 3 + DOORS && strcmp(words[1], "serve") == 0;
    if (serves) serve(count - 2, words + 2, welcome, turn);
    if (count == 5 && strcmp(words[1], "load") == 0) return load(atoi(words[2]), atof(words[3]), atoi(words[4]));
    fprintf(stderr, "usage: websocket serve PORT... | load PORT SECONDS CONNECTIONS\n");
    return 2;
}
