package httpapi

import (
	"crypto/rand"
	"net/http"
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

// door lets a bounded crowd in. Who finds it full is told so before anything of the
// request is read, at the least cost: with prepared bytes and without a log line.
type door struct {
	next    http.Handler
	meter   Meter
	inside  atomic.Int64
	problem preparedProblem
}

func newDoor(next http.Handler, meter Meter, kind problemKind) (*door, error) {
	problem, err := prepareProblem(overcrowded(), kind)
	if err != nil {
		return nil, err
	}
	return &door{next: next, meter: meter, problem: problem}, nil
}

func overcrowded() *sale.Error {
	return &sale.Error{
		Code: sale.CodeOverloaded, RetryAfter: defaultRetryAfter,
		Detail: "Too many requests for holds are being served. Nothing was done; try again.",
	}
}

// ServeHTTP serves the request or refuses it at the door.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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

func (d *door) refuse(w http.ResponseWriter, r *http.Request) {
	id := requestID(r)
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
	_, _ = w.Write(body)
	d.meter.RequestServed(holdsOperation, http.MethodPost, http.StatusServiceUnavailable, 0)
}

// requestID is the id that a request brought, or a new one.
func requestID(r *http.Request) string {
	if id := r.Header.Get(echo.HeaderXRequestID); isRequestID(id) {
		return id
	}
	return rand.Text()
}
