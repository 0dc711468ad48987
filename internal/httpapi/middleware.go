package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/flashsale-api/flashsale/internal/telemetry"
)

const (
	// MaxBody bounds the body of every request, in bytes: the webhook's by
	// contract, and the largest well-formed hold needs a twentieth of it.
	MaxBody = 64 << 10

	// maxRequestID bounds a request id that a client may give, in characters.
	maxRequestID = 128

	// otherOperation is the operation of pages and of paths that do not exist.
	otherOperation = "other"
)

// exchange is what the middlewares tell each other about one request. It is the
// request's context: a value in Echo's would cost a map for each request.
type exchange struct {
	context.Context
	operation string
	status    int       // to be shown to operators; 0: the response's
	answered  time.Time // when a stream began; zero: no stream did
	validated any       // the body, once it was found to follow the contract
}

// exchangeKey is the context key of the exchange itself.
type exchangeKey struct{}

// Value finds the exchange, and what its parents have.
func (e *exchange) Value(key any) any {
	if key == (exchangeKey{}) {
		return e
	}
	return e.Context.Value(key)
}

func exchangeOf(c echo.Context) *exchange {
	r := c.Request()
	if known, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
		return known
	}
	made := newExchange(r.Context())
	c.SetRequest(r.WithContext(made))
	return made
}

func newExchange(ctx context.Context) *exchange {
	return &exchange{Context: ctx, operation: otherOperation}
}

// identify gives the request its id, in its context and in the answer. No cache may keep an
// answer that says nothing else about it: some keep for an hour what does not forbid it.
func (h *handlers) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		id := requestID(r.Header.Get(echo.HeaderXRequestID))
		setHeaders(c.Response().Header(), echo.HeaderXRequestID, id, echo.HeaderXContentTypeOptions, "nosniff",
			echo.HeaderCacheControl, "no-store")
		c.SetRequest(r.WithContext(newExchange(telemetry.WithRequestID(r.Context(), id))))
		return next(c)
	}
}

// setHeaders sets headers, given as names in their canonical form and values in turn, with
// one allocation for all of them: Header.Set takes one for each, and looks at the names.
func setHeaders(header http.Header, pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		header[pairs[i]] = pairs[i+1 : i+2 : i+2]
	}
}

// isRequestID says whether a client's id may stand in headers and logs.
func isRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		if id[i] < '!' || id[i] > '~' {
			return false
		}
	}
	return true
}

// observe answers failures, then logs and counts the request. An answer that
// failed half-way is cut off, so that no client takes it for whole.
func (h *handlers) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		started := time.Now()
		err := next(c)
		half := err != nil && c.Response().Committed
		if err != nil {
			c.Error(err)
		}
		h.record(c, started)
		if half {
			panic(http.ErrAbortHandler)
		}
		return nil
	}
}

// record shows a stream's whole life in the log, but counts the time up to its
// beginning: that is what its client waited for.
func (h *handlers) record(c echo.Context, started time.Time) {
	duration := time.Since(started)
	known := exchangeOf(c)
	waited := duration
	if !known.answered.IsZero() {
		waited = known.answered.Sub(started)
	}
	status := known.status
	if status == 0 {
		status = c.Response().Status
	}
	method := meteredMethod(c.Request().Method)
	h.Meter.RequestServed(known.operation, method, status, waited)
	if h.DisableAccessLog {
		return
	}
	h.Log.LogAttrs(c.Request().Context(), slog.LevelInfo, "http.request",
		slog.String("operation", known.operation),
		slog.String("method", method),
		slog.String("path", c.Path()),
		slog.Int("status", status),
		slog.Float64("duration_ms", float64(duration.Microseconds())/float64(time.Millisecond/time.Microsecond)),
		slog.Int64("bytes", c.Response().Size),
	)
}

// meteredMethod keeps clients from making up label values.
func meteredMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	default:
		return "OTHER"
	}
}

// panicError is a panic on its way to the error mapper.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// recoverPanics turns a panic into an error, except the one that net/http
// itself understands.
func recoverPanics(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch value := recover(); value {
			case nil:
			case http.ErrAbortHandler:
				panic(value)
			default:
				err = &panicError{value: value, stack: debug.Stack()}
			}
		}()
		return next(c)
	}
}

// refuseDeeperPaths keeps the last parameter of a route from taking in what
// comes after the next slash, as the router lets it.
func refuseDeeperPaths(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if strings.Count(c.Path(), "/") != strings.Count(echo.GetPath(c.Request()), "/") {
			return echo.ErrNotFound
		}
		return next(c)
	}
}

// refuseOptions answers OPTIONS as any other method that a path does not have:
// the router would answer an empty success by itself.
func refuseOptions(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Method == http.MethodOptions && c.Get(echo.ContextKeyHeaderAllow) != nil {
			return echo.ErrMethodNotAllowed
		}
		return next(c)
	}
}

// limitBody refuses a body that says that it is too large, and cuts off one that
// does not say its size and turns out to be. One that says it is no longer.
func limitBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.ContentLength > MaxBody {
			return &http.MaxBytesError{Limit: MaxBody}
		}
		if r.ContentLength < 0 {
			r.Body = http.MaxBytesReader(c.Response().Writer, r.Body, MaxBody)
		}
		return next(c)
	}
}
