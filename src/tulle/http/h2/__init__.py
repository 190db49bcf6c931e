"""Strict HTTP/2 without I/O (RFC 9113, RFC 7541): frames, header blocks, flow control and the defence of a connection.

store = FieldStore()                                    one for the process: fields that come again are one object
connection = Connection(SERVER, handler, store, limits, now)   or CLIENT; `handler` is a `stream.Handler`
connection.receive(octets, now)                         calls the handler; a cut of the input anywhere changes nothing
stream = connection.open(fields, done)                  CLIENT only, while `can_open`
connection.send_head(stream, fields, done)              interim answers too
connection.send_data(stream, payload, done)             False: some waits for a window; go on after `on_writable`
connection.send_trailers(stream, fields)                wait behind queued data, encoded when they are sent
connection.consume(stream, octets)                      received data has gone on: credit goes back
connection.reset(stream, code)
connection.take() -> bytes                              all that is to be sent, once per turn of the loop
connection.hold(), connection.release()                 the wire is full, the wire has room: data waits in between
connection.drain(), connection.fail(code, detail)       GOAWAY, politely or not
request_fields(head, store, target, extra)              list[Field] for `open`, from a head of either protocol
response_fields(head, store, extra)                     list[Field] for `send_head`
"""
