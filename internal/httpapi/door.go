package httpapi

import (
	"crypto/rand"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/labstack/echo/v4"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// maxHoldsInside bounds the requests for holds that are served at once: as many as
	// the engine serves in a tenth of a second or so. More would not be served sooner,
	// and each that waits or is read in vain takes processor time from those that are.
	maxHoldsInside = 1024

	holdsPath      = "/api/holds"
	holdsOperation = "createHold"
)

// Door lets a bounded crowd in to the API. Who finds it full is told so before anything
// of the request is read, at the least cost: with prepared bytes and without a log line,
// on connections of Listener even before net/http sees it.
type Door struct {
	next     http.Handler
	meter    Meter
	draining func() bool
	inside   atomic.Int64
	problem  preparedProblem
	head     []byte    // of a refusal on the wire, up to its request's id
	buffers  sync.Pool // of *[]byte, for refusals on the wire
}

func newDoor(next http.Handler, cfg Config, kind problemKind) (*Door, error) {
	problem, err := prepareProblem(overcrowded(), kind)
	if err != nil {
		return nil, err
	}
	return &Door{
		next: next, meter: cfg.Meter, draining: cfg.Draining, problem: problem, head: wireHead(),
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
	if r.Method != http.MethodPost || r.URL.Path != holdsPath {
		d.next.ServeHTTP(w, r)
		return
	}
	defer d.inside.Add(-1)
	if d.inside.Add(1) > maxHoldsInside {
		d.refuse(w, r)
		return
	}
	d.next.ServeHTTP(w, r)
}

func (d *Door) refuse(w http.ResponseWriter, r *http.Request) {
	id := requestID(r.Header.Get(echo.HeaderXRequestID))
	header := w.Header()
	header.Set(echo.HeaderXRequestID, id)
	header.Set(echo.HeaderXContentTypeOptions, "nosniff")
	header.Set(echo.HeaderContentType, problemMediaType)
	header.Set(echo.HeaderCacheControl, "no-store")
	header.Set(echo.HeaderRetryAfter, retryAfter(http.StatusServiceUnavailable, defaultRetryAfter))
	w.WriteHeader(http.StatusServiceUnavailable)
	// An id that has come in a header is a text, and who does not wait for the answer
	// needs none.
	body, _ := d.problem.answer(id)
	_, _ = w.Write(body) //nolint:gosec // JSON, in which the id is encoded
	d.meter.RequestServed(holdsOperation, http.MethodPost, http.StatusServiceUnavailable, 0)
}

// full says that nobody else is let in.
func (d *Door) full() bool { return d.inside.Load() >= maxHoldsInside }

// requestID is the id that a request has given, or a new one.
func requestID(given string) string {
	if isRequestID(given) {
		return given
	}
	return rand.Text()
}
