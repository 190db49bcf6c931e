"""Strict HTTP/1.1 without I/O. What is forwarded is re-serialised from what was judged, never the bytes that came.

    end = find_head_end(buffer, start)             -1: read on, unless refuse_early(buffer, start, limits) says otherwise
    head = parse_request(buffer[start:end], limits)        RequestHead | Refusal
    body = BodyReader(head.framing, head.content_length, limits)
    at = body.feed(buffer, at, out)                appends payload slices to out; see done, failed, fault, trailers
    body.end()                                     the peer closed: done if UNTIL_CLOSE, else failed
    write_request(head, extra=b"x-request-id: 7\\r\\n", target=b"", drop=frozenset())   -> bytes
    parse_response(buffer[start:end], head.method, limits) ResponseHead | Refusal
    response_framing(head, client_minor)           what write_response announces: NO_BODY, SIZED, CHUNKED, UNTIL_CLOSE
    write_response(head, client_minor, close, extra, drop) -> bytes
    chunk(payload), last_chunk(trailers)           -> bytes
    write_reply(status, body, content_type, extra, close, with_body) -> bytes    an answer of our own
"""
