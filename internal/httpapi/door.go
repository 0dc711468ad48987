package httpapi

import (
	"bytes"
	"crypto/rand"
	"io"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	holdsPath      = "/api/holds"
	holdsOperation = "createHold"
)

// Door lets a bounded crowd in to the API. Who would find no place is told so before anything
// of the request is checked, at the least cost: with prepared bytes and without a log line,
// on connections of Listener even before net/http sees it.
type Door struct {
	*places
	next     http.Handler
	meter    Meter
	draining func() bool
	problem  preparedProblem
	head     []byte    // of a refusal on the wire, up to its request's id
	buffers  sync.Pool // of *[]byte, for refusals on the wire
}

func newDoor(next http.Handler, places *places, cfg Config, kind problemKind) (*Door, error) {
	problem, err := prepareProblem(overcrowded(), kind)
	if err != nil {
		return nil, err
	}
	return &Door{
		places: places, next: next, meter: cfg.Meter, draining: cfg.Draining, problem: problem, head: wireHead(),
		buffers: sync.Pool{New: func() any { return new([]byte) }},
	}, nil
}

func overcrowded() *sale.Error {
	return &sale.Error{
		Code: sale.CodeOverloaded, RetryAfter: defaultRetryAfter,
		Detail: "Too many requests for holds are being served. Nothing was done; try again.",
	}
}

// ServeHTTP serves the request or refuses it at the door.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.Path == holdsPath && d.crowded() {
		body := ahead(r)
		if d.refuses(body) {
			d.refuse(w, r)
			return
		}
		r.Body = again{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
	}
	d.next.ServeHTTP(w, r)
}

// ahead reads a usual body, or what comes of it before it breaks off; nothing of any other, nor
// of one that the client wants to be asked for. Who waits here for one that comes slowly has no
// place yet.
func ahead(r *http.Request) []byte {
	if r.ContentLength <= 0 || r.ContentLength > usualBody || r.Header.Get("Expect") != "" {
		return nil
	}
	body := make([]byte, r.ContentLength)
	n, _ := io.ReadFull(r.Body, body) // who reads on meets the error, too
	return body[:n]
}

// again is a body of which a part was read before.
type again struct {
	io.Reader
	io.Closer
}

func (d *Door) refuse(w http.ResponseWriter, r *http.Request) {
	id := requestID(r.Header.Get(echo.HeaderXRequestID))
	setHeaders(w.Header(), echo.HeaderXRequestID, id, echo.HeaderXContentTypeOptions, "nosniff",
		echo.HeaderContentType, problemMediaType, echo.HeaderCacheControl, "no-store",
		echo.HeaderRetryAfter, retryAfter(http.StatusServiceUnavailable, defaultRetryAfter))
	w.WriteHeader(http.StatusServiceUnavailable)
	// An id that has come in a header is a text, and who does not wait for the answer
	// needs none.
	body, _ := d.problem.answer(id)
	_, _ = w.Write(body) //nolint:gosec // JSON, in which the id is encoded
	d.count()
}

// count counts a refusal.
func (d *Door) count() {
	d.meter.RequestRefused(holdsOperation, http.MethodPost, http.StatusServiceUnavailable)
	d.meter.HoldRejected(sale.CodeOverloaded)
}

// requestID is the id that a request has given, or a new one.
func requestID(given string) string {
	if isRequestID(given) {
		return given
	}
	return rand.Text()
}
