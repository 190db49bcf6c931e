/* The two ends of gRPC unary calls over cleartext HTTP/2, as lean as they can be, so that the proxy between them is what saturates.

   grpc_peer serve PORT PORT...                                   answers every call alike, on 127.0.0.1
   grpc_peer load PORT SECONDS CONNECTIONS STREAMS KIND SEED [CALLS]
                                                                  calls as fast as it is answered; prints RESULT {json}

   KIND: repeat: every call has the same fields; differ: each has a traceparent of its own, as a literal outside of the table; indexed:
   the same, put into the table by the client, which then turns over all the time. Fields that repeat are indexed by both ends.
   With CALLS it makes exactly so many, STREAMS at once and the next when all are answered. A call counts as failed unless it is answered by exactly the octets that `serve` sends. */

#include "ends.h"

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
enum { TABLE = 4096, BUFFER = 1 << 20, MAX_STREAMS = 1024, WINDOW = 1 << 24 };

static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
static const char ASKED[] = "\0\0\0\0\024\012\006order1\022\012till-00017", ANSWER[] = "\0\0\0\0\036\012\006order1\022\024shipped to Rotterdam";
enum { ASKED_SIZE = 25, ANSWER_SIZE = 35 };

typedef struct {
    const char *name, *value;
    int whole, named; /* indices in the static table: of the field, of its name; 0: not there */
} Field;

static const Field REQUEST[] = {
    {":method", "POST", 3, 2},
    {":scheme", "http", 6, 6},
    {":path", "/shop.Orders/Get", 0, 4},
    {":authority", "orders", 0, 1},
    {"content-type", "application/grpc", 0, 31},
    {"user-agent", "grpc-go/1.64.0", 0, 58},
    {"te", "trailers", 0, 0},
    {"grpc-accept-encoding", "gzip", 0, 0},
    {"x-device", "till-17", 0, 0},
};
static const Field RESPONSE[] = {{":status", "200", 8, 8}, {"content-type", "application/grpc", 0, 31}, {"server", "orders", 0, 54}};
static const Field TRAILERS[] = {{"grpc-status", "0", 0, 0}, {"grpc-message", "", 0, 0}};
enum { REQUEST_SIZE = 9, RESPONSE_SIZE = 3, TRAILERS_SIZE = 2 };

typedef struct {
    int fd, calls;
    uint32_t next_id, settled;
    unsigned have, out, sent;
    long inserted, filled; /* entries, and octets, ever put into our table */
    long number[16], before[16];
    uint64_t began[MAX_STREAMS];
    uint32_t owner[MAX_STREAMS], got[MAX_STREAMS];
    unsigned consumed;
    int broken, waits;
    int plain; /* the other end keeps no table (nginx): 1 until it was told that we know, then 2 */
    unsigned char in[BUFFER], send[BUFFER];
} Peer;

static int serves, kind, streams, lost;
static uint32_t seed;
static uint64_t calls, failed, ends, traced, begun, limit = UINT64_MAX;

static unsigned char *room(Peer *p, unsigned size) {
    if (p->out + size > BUFFER) {
        fprintf(stderr, "the proxy does not read\n");
        exit(1);
    }
    unsigned char *at = p->send + p->out;
    p->out += size;
    return at;
}

static unsigned char *frame(Peer *p, unsigned size, int type, int flags, uint32_t id) {
    unsigned char *at = room(p, size + 9);
    at[0] = size >> 16, at[1] = size >> 8, at[2] = size, at[3] = type, at[4] = flags;
    at[5] = id >> 24, at[6] = id >> 16, at[7] = id >> 8, at[8] = id;
    return at + 9;
}

static void frame32(Peer *p, int type, uint32_t id, uint32_t word) {
    unsigned char *at = frame(p, 4, type, 0, id);
    at[0] = word >> 24, at[1] = word >> 16, at[2] = word >> 8, at[3] = word;
}

static unsigned char *integer(unsigned char *at, int pattern, int bits, unsigned value) {
    unsigned most = (1 << bits) - 1;
    if (value < most) {
        *at++ = pattern | value;
        return at;
    }
    *at++ = pattern | most;
    for (value -= most; value >= 128; value >>= 7) *at++ = value | 128;
    *at++ = value;
    return at;
}

static unsigned char *string(unsigned char *at, const char *text) {
    unsigned size = strlen(text);
    at = integer(at, 0, 7, size);
    memcpy(at, text, size);
    return at + size;
}

/* A field by its index while the table still has it, else as a literal that enters the table. `slot`: where its place is remembered. */
static unsigned char *encode(Peer *p, unsigned char *at, const Field *f, int slot) {
    if (f->whole) return integer(at, 0x80, 7, f->whole);
    if (p->plain) {
        at = integer(at, 0x00, 4, f->named);
        return string(f->named ? at : string(at, f->name), f->value);
    }
    if (p->number[slot] && p->filled - p->before[slot] <= TABLE) return integer(at, 0x80, 7, 62 + p->inserted - p->number[slot]);
    at = integer(at, 0x40, 6, f->named);
    if (!f->named) at = string(at, f->name);
    p->before[slot] = p->filled;
    p->filled += strlen(f->name) + strlen(f->value) + 32;
    p->number[slot] = ++p->inserted;
    return string(at, f->value);
}

static void head(Peer *p, const Field *fields, int count, int slot, uint32_t id, int flags, const char *trace) {
    unsigned began = p->out;
    frame(p, 0, HEADERS, END_HEADERS | flags, id);
    room(p, 512);
    unsigned char *start = p->send + began + 9, *at = start;
    if (p->plain == 1) *at++ = 0x20, p->plain = 2;
    for (int i = 0; i < count; i++) at = encode(p, at, fields + i, slot + i);
    if (trace && kind == 1) at = string(string(integer(at, 0x00, 4, 0), "traceparent"), trace);
    if (trace && kind == 2) {
        at = string(string(integer(at, 0x40, 6, 0), "traceparent"), trace);
        p->filled += strlen("traceparent") + strlen(trace) + 32;
        p->inserted++;
    }
    unsigned size = at - start;
    p->send[began] = size >> 16, p->send[began + 1] = size >> 8, p->send[began + 2] = size;
    p->out = began + 9 + size;
}

static void greet(Peer *p) {
    if (!serves) memcpy(room(p, 24), PREFACE, 24);
    unsigned char *at = frame(p, 6, SETTINGS, 0, 0);
    memcpy(at, "\0\003\0\0\004\0", 6); /* SETTINGS_MAX_CONCURRENT_STREAMS 1024 */
    frame32(p, WINDOW_UPDATE, 0, WINDOW);
}

static void call(Peer *p) {
    char trace[64] = "";
    uint32_t id = p->next_id;
    int slot = (id >> 1) % MAX_STREAMS;
    p->next_id += 2;
    if (kind) {
        uint64_t mixed = ++traced * 0x9E3779B97F4A7C15ull ^ (uint64_t)seed << 32;
        snprintf(trace, sizeof trace, "00-%016llx%016llx-%016llx-01", (unsigned long long)mixed, (unsigned long long)traced,
                 (unsigned long long)~mixed);
    }
    head(p, REQUEST, REQUEST_SIZE, 0, id, 0, kind ? trace : NULL);
    memcpy(frame(p, ASKED_SIZE, DATA, END_STREAM, id), ASKED, ASKED_SIZE);
    p->owner[slot] = id;
    p->got[slot] = 0;
    p->began[slot] = now_us();
    p->calls++;
    begun++;
}

static void call_all(Peer *p) {
    while (p->calls < streams && begun < limit) call(p);
}

static void answer(Peer *p, uint32_t id) {
    head(p, RESPONSE, RESPONSE_SIZE, 0, id, 0, NULL);
    memcpy(frame(p, ANSWER_SIZE, DATA, 0, id), ANSWER, ANSWER_SIZE);
    head(p, TRAILERS, TRAILERS_SIZE, RESPONSE_SIZE, id, END_STREAM, NULL);
}

static void settle(Peer *p, uint32_t id, int well) {
    int slot = (id >> 1) % MAX_STREAMS;
    uint64_t now = now_us();
    if (p->owner[slot] != id) return;
    p->owner[slot] = 0;
    p->calls--;
    if (now >= ends) return;
    if (well && p->got[slot] == ANSWER_SIZE) calls++;
    else failed++;
    took(now - p->began[slot]);
}

static void on_frame(Peer *p, const unsigned char *at, unsigned size, int type, int flags, uint32_t id) {
    int slot = (id >> 1) % MAX_STREAMS;
    switch (type) {
    case DATA:
        p->consumed += size;
        if (!serves) {
            int sound = p->got[slot] + size <= ANSWER_SIZE && memcmp(at, ANSWER + p->got[slot], size) == 0;
            p->got[slot] += sound ? size : MAX_MICROS;
        }
        break;
    case RST_STREAM:
        if (!serves) settle(p, id, 0);
        return;
    case SETTINGS:
        if (flags & ACK) return;
        for (unsigned i = 0; i + 6 <= size; i += 6)
            if (at[i] == 0 && at[i + 1] == 1 && !memcmp(at + i + 2, "\0\0\0", 4)) p->plain = 1;
        frame(p, 0, SETTINGS, ACK, 0);
        return;
    case PING:
        if (!(flags & ACK)) memcpy(frame(p, 8, PING, ACK, 0), at, 8);
        return;
    case GOAWAY:
        p->broken = !serves;
        return;
    }
    if ((type == DATA || type == HEADERS) && flags & END_STREAM) {
        if (serves) answer(p, id);
        else settle(p, id, type == HEADERS);
    }
}

/* Sends what is gathered; what the socket does not take waits for its next event. */
static void flush(Peer *p) {
    while (p->sent < p->out) {
        ssize_t n = send(p->fd, p->send + p->sent, p->out - p->sent, 0);
        if (n < 0) {
            if (errno != EAGAIN) p->broken = 1;
            break;
        }
        p->sent += n;
    }
    int waits = p->sent < p->out;
    if (!waits) p->sent = p->out = 0;
    else memmove(p->send, p->send + p->sent, p->out -= p->sent), p->sent = 0;
    if (waits != p->waits) rewatch(p->fd, EPOLLIN | (waits ? EPOLLOUT : 0), p);
    p->waits = waits;
}

static void on_event(Peer *p) {
    ssize_t n = recv(p->fd, p->in + p->have, BUFFER - p->have, 0);
    if (n < 0 && errno == EAGAIN) n = 0;
    else if (n <= 0) {
        p->broken = 1;
        return;
    }
    p->have += n;
    unsigned at = 0;
    if (serves && !p->settled) {
        if (p->have < 24) return;
        if (memcmp(p->in, PREFACE, 24)) {
            p->broken = 1;
            return;
        }
        at = 24;
        p->settled = 1;
    }
    while (p->have - at >= 9) {
        unsigned char *f = p->in + at;
        unsigned size = f[0] << 16 | f[1] << 8 | f[2];
        if (p->have - at < 9 + size) break;
        on_frame(p, f + 9, size, f[3], f[4], (f[5] & 127) << 24 | f[6] << 16 | f[7] << 8 | f[8]);
        at += 9 + size;
    }
    memmove(p->in, p->in + at, p->have -= at);
    if (p->consumed > WINDOW / 4) {
        frame32(p, WINDOW_UPDATE, 0, p->consumed);
        p->consumed = 0;
    }
    if (!serves && now_us() < ends && (limit == UINT64_MAX || !p->calls)) call_all(p);
    flush(p);
}

static Peer *adopt(int fd) {
    Peer *p = calloc(1, sizeof *p);
    if (!p) die("calloc");
    p->fd = fd;
    p->next_id = 1;
    watch(fd, EPOLLIN, p);
    greet(p);
    return p;
}

static void welcome(int fd) {
    flush(adopt(fd));
}

static void turn(void *who, unsigned events) {
    Peer *p = who;
    on_event(p);
    if (!p->broken) return;
    failed += p->calls;
    lost++;
    close(p->fd);
    free(p);
}

static int load(int port, double seconds, int connections) {
    uint64_t began = now_us();
    ends = began + seconds * 1e6;
    for (int i = 0; i < connections; i++) {
        Peer *p = adopt(dial(loopback(0, port), 0));
        call_all(p);
        flush(p);
    }
    while (now_us() < ends && calls + failed < limit && lost < connections) look(turn);
    printf("RESULT {\"requests\":%llu,\"micros\":%llu,\"failed\":%llu,\"p50_us\":%u,\"p99_us\":%u}\n", (unsigned long long)calls,
           (unsigned long long)(now_us() - began), (unsigned long long)failed, percentile(0.5), percentile(0.99));
    return 0;
}

int main(int count, char **words) {
    prepare();
    serves = count > 2 && count < 3 + DOORS && strcmp(words[1], "serve") == 0;
    if (serves) serve(count - 2, words + 2, welcome, turn);
    if ((count == 8 || count == 9) && strcmp(words[1], "load") == 0) {
        streams = atoi(words[5]);
        kind = strcmp(words[6], "indexed") == 0 ? 2 : strcmp(words[6], "differ") == 0;
        seed = atoi(words[7]);
        if (count == 9) limit = strtoull(words[8], NULL, 10);
        if (streams < 1 || streams > MAX_STREAMS / 2) return 2;
        return load(atoi(words[2]), atof(words[3]), atoi(words[4]));
    }
    fprintf(stderr, "usage: grpc_peer serve PORT... | load PORT SECONDS CONNECTIONS STREAMS repeat|differ|indexed SEED [CALLS]\n");
    return 2;
}
