package httpapi

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
)

// In a crowd most of what comes finds no place, so a refusal must cost next to nothing: by way
// of net/http it costs a third of what a hold costs. Here requests for holds are refused
// on the wire, before net/http sees them. What cannot be refused there for sure passes,
// and meets the door.
const (
	// maxLengthDigits bounds the digits of a body's length.
	maxLengthDigits = 15

	holdRequestLine = http.MethodPost + " " + holdsPath + " HTTP/1.1\r\n"
	endOfHead       = "\r\n\r\n"
)

// Listener gives a listener whose connections refuse requests for holds by themselves
// that would find no place. Idle is how long a client may take to send another.
func (d *Door) Listener(ln net.Listener, idle time.Duration) net.Listener {
	return &wireListener{Listener: ln, door: d, idle: idle}
}

type wireListener struct {
	net.Listener
	door *Door
	idle time.Duration
}

// Accept waits for the next connection.
func (l *wireListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err //nolint:wrapcheck // net/http looks at it
	}
	return &wire{Conn: conn, door: l.door, idle: l.idle}, nil
}

// wire is a connection that knows where its requests begin and end, for as long as they
// are plain: whole heads, bodies of a known length, none sent before the answer to the
// last. Only where one begins can it be refused, else a part of a body could be taken
// for a request. After one that is not plain the rest of the connection passes as it is.
// Its first request passes, too: net/http gives that one its time from when the connection
// began, and each later one from when it comes.
type wire struct {
	net.Conn
	door   *Door
	idle   time.Duration
	opened bool  // something has passed
	begun  bool  // the first byte of a request has passed by itself
	left   int64 // bytes of the present request that are still to come
	lost   bool  // where requests begin is not known any more
}

// Read gives net/http the next bytes, but those of requests that it refuses.
func (w *wire) Read(p []byte) (int, error) {
	for {
		n, err := w.Conn.Read(p)
		if n == 0 || err != nil || w.lost {
			return n, err //nolint:wrapcheck // net/http looks at it
		}
		head, whole := w.follow(p[:n])
		if !whole || !w.opened || !w.door.refuses(head.body) || w.door.draining() {
			w.opened = true
			return n, nil
		}
		if err := w.refuse(head); err != nil {
			return 0, err
		}
	}
}

// follow goes on with the framing. It says whether the bytes are a whole request for
// holds that may be answered here, and gives its head then.
func (w *wire) follow(came []byte) (head requestHead, whole bool) {
	n := int64(len(came))
	switch {
	case w.left > 0:
		w.left -= n
		w.lost = w.left < 0
		return head, false
	case n == 1 && !w.begun:
		// net/http looks whether the client has left, and finds its next request.
		w.begun = true
		return head, false
	}
	head, size := readHead(came)
	w.left = size + head.length - n
	w.lost = size == 0 || w.left < 0
	whole = w.left == 0 && !w.lost && !w.begun && !head.particular && bytes.HasPrefix(came, []byte(holdRequestLine))
	w.begun = false
	if whole {
		head.body = came[size:]
	}
	return head, whole
}

// CloseWrite says to the client that nothing more will come, as net/http does before it
// ends a connection with bytes of a request unread: without it the end would be a reset,
// and the client might lose the answer.
func (w *wire) CloseWrite() error {
	half, ok := w.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite() //nolint:wrapcheck // net/http looks at it
}

// refuse answers a request. The client has as long as before to take the answer and to
// send another.
func (w *wire) refuse(head requestHead) error {
	if err := w.SetDeadline(time.Now().Add(w.idle)); err != nil {
		return err //nolint:wrapcheck // net/http looks at it
	}
	return w.door.refuseOn(w.Conn, head)
}

// refuseOn writes a refusal as net/http would.
func (d *Door) refuseOn(conn net.Conn, head requestHead) error {
	id := requestID(string(head.requestID))
	// An id that has come in a header is a text, which can always be encoded.
	body, _ := d.problem.answer(id)
	buffer := d.buffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // all are
	defer d.buffers.Put(buffer)
	answer := append(append((*buffer)[:0], d.head...), id...)
	answer = time.Now().UTC().AppendFormat(append(answer, "\r\nDate: "...), http.TimeFormat)
	answer = strconv.AppendInt(append(answer, "\r\nContent-Length: "...), int64(len(body)), 10)
	answer = append(append(answer, endOfHead...), body...)
	*buffer = answer
	d.count()
	_, err := conn.Write(answer)
	return err //nolint:wrapcheck // net/http looks at it
}

// wireHead is what all refusals on the wire begin with, up to the request's id.
func wireHead() []byte {
	return []byte("HTTP/1.1 503 Service Unavailable\r\n" +
		"Cache-Control: no-store\r\n" +
		"Content-Type: " + problemMediaType + "\r\n" +
		"Retry-After: " + retryAfter(http.StatusServiceUnavailable, defaultRetryAfter) + "\r\n" +
		"X-Content-Type-Options: nosniff\r\n" +
		"X-Request-Id: ")
}

// requestHead is what matters of a request's head.
type requestHead struct {
	length     int64  // of the body
	body       []byte // where all of it is there
	requestID  []byte // nil: none was given
	particular bool   // about the connection or the way of its answer
}

// readHead reads the head that came begins with, and gives its size: 0 when it is not all
// there, or not so plain that all readers of HTTP/1.1 see the same in it.
func readHead(came []byte) (head requestHead, size int64) {
	end := bytes.Index(came, []byte(endOfHead))
	if end < 0 {
		return head, 0
	}
	line, rest := cutLine(came[:end])
	if !bytes.HasSuffix(line, []byte(" HTTP/1.1")) || !isOneLine(line) {
		return head, 0
	}
	measured := false
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found || !isPlainName(name) || !isOneLine(value) {
			return head, 0
		}
		value = bytes.Trim(value, " \t")
		switch {
		case isHeader(name, echo.HeaderContentLength):
			length, ok := parseLength(value)
			if measured || !ok {
				return head, 0
			}
			head.length, measured = length, true
		case isHeader(name, "Transfer-Encoding"), isHeader(name, echo.HeaderUpgrade):
			return head, 0
		case isHeader(name, echo.HeaderConnection), isHeader(name, "Expect"):
			head.particular = true
		case isHeader(name, echo.HeaderXRequestID) && head.requestID == nil:
			head.requestID = value
		}
	}
	return head, int64(end + len(endOfHead))
}

func cutLine(text []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(text, []byte("\r\n"))
	return line, rest
}

// isOneLine says that nobody sees a line's end in a text.
func isOneLine(text []byte) bool { return !bytes.ContainsAny(text, "\r\n") }

func isHeader(name []byte, wanted string) bool {
	return len(name) == len(wanted) && bytes.EqualFold(name, []byte(wanted))
}

// isPlainName says whether a header's name has nothing but letters, digits and '-'.
func isPlainName(name []byte) bool {
	for _, c := range name {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(name) > 0
}

// parseLength reads the length of a body as it is usually written.
func parseLength(digits []byte) (length int64, ok bool) {
	for _, digit := range digits {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		length = length*10 + int64(digit-'0')
	}
	return length, len(digits) > 0 && len(digits) <= maxLengthDigits
}
