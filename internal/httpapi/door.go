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

// places are where requests for holds are served, a bounded number. A request takes its
// place when all of it has come and is found right: one whose body comes slowly, or not at
// all, keeps nobody else out.
type places struct{ taken atomic.Int64 }

// full says that nobody else is let in.
func (p *places) full() bool { return p.taken.Load() >= maxHoldsInside }

// take is false when there is no place.
func (p *places) take() bool {
	if p.taken.Add(1) <= maxHoldsInside {
		return true
	}
	p.leave()
	return false
}

func (p *places) leave() { p.taken.Add(-1) }

// letIn gives a request for a hold its place. Of those that came in together while the door
// was not full, some may find it full here.
func (h *handlers) letIn(places *places) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if !places.take() {
				h.Meter.HoldRejected(sale.CodeOverloaded)
				return overcrowded()
			}
			defer places.leave()
			return next(c)
		}
	}
}

// Door lets a bounded crowd in to the API. Who finds it full is told so before anything
// of the request is read, at the least cost: with prepared bytes and without a log line,
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
	if r.Method == http.MethodPost && r.URL.Path == holdsPath && d.full() {
		d.refuse(w, r)
		return
	}
	d.next.ServeHTTP(w, r)
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
