// Package httpapi answers HTTP: it checks requests against the contract, calls
// one action for each operation and turns what it gets into a response or a
// problem. It is the only package that knows Echo.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"github.com/flashsale-api/flashsale/api"
	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/live"
	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// Meter counts requests, for operators.
type Meter interface {
	// RequestServed is called once for each request, after its answer was
	// written. operation is the contract's operationId, or "other"; method is
	// one of HTTP's own or "OTHER"; status is what the access log shows, 499 for
	// a client that went away.
	// duration is that of the whole answer; for a stream, up to its beginning.
	RequestServed(operation, method string, status int, duration time.Duration)
	// RequestRefused is called in its place for a request that was refused unread: it
	// took no time, and would make the others look fast.
	RequestRefused(operation, method string, status int)
	// HoldRejected tells of a hold that no action has seen.
	HoldRejected(code sale.Code)
}

// Readiness is whether the process can serve requests, and what of. The words
// are the contract's, or any other in a state that is not ready.
type Readiness struct {
	Ready      bool
	MySQL      string // up, down
	Redis      string // up, down, disabled
	Migrations string // current, ahead, behind, unknown
}

// Config is what the API works with. Draining may be nil, and Operations, or both
// Actions and Live.
type Config struct {
	Actions            *action.Actions
	Live               *live.Hub                    // of events that EncodeStock makes
	Operations         server.StrictServerInterface // instead of the actions; nil: none
	Verifier           *payment.Verifier
	Budget             time.Duration // of each request to begin things; 0: not bounded
	Ready              func(ctx context.Context) Readiness
	Draining           func() bool // true: /readyz says no, all else goes on
	UnknownOrderStatus int         // of a payment for an unknown order: 404 or 503
	Log                *slog.Logger
	Meter              Meter
	DisableAccessLog   bool
}

func (c Config) validate() error {
	var faults []error
	missing := func(absent bool, name string) {
		if absent {
			faults = append(faults, errors.New("http api: no "+name))
		}
	}
	missing(c.Actions == nil && c.Operations == nil, "actions")
	missing(c.Live == nil && c.Operations == nil, "live stock")
	missing(c.Verifier == nil, "verifier")
	missing(c.Ready == nil, "readiness")
	missing(c.Log == nil, "log")
	missing(c.Meter == nil, "meter")
	if c.UnknownOrderStatus != http.StatusNotFound && c.UnknownOrderStatus != http.StatusServiceUnavailable {
		faults = append(faults, fmt.Errorf("http api: status %d for an unknown order, want 404 or 503", c.UnknownOrderStatus))
	}
	return errors.Join(faults...)
}

// handlers fills the generated strict interface. A handler returns successes
// only; every failure is an error, which writeProblem maps.
type handlers struct {
	Config
	problems map[sale.Code]problemKind
	encoded  *encodedProducts
	refusals refusals
}

var _ server.StrictServerInterface = (*handlers)(nil)

// New builds the whole API as one handler. It fails for an incomplete Config
// and for a contract that cannot be read.
func New(cfg Config) (*Door, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Draining == nil {
		cfg.Draining = func() bool { return false }
	}
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("check the contract: %w", err)
	}
	pages, err := newPages(doc)
	if err != nil {
		return nil, err
	}
	operations, err := newOperations(doc, cfg.Budget)
	if err != nil {
		return nil, err
	}
	h := &handlers{Config: cfg, problems: problemKinds(), encoded: newEncodedProducts()}
	places := newPlaces()
	return newDoor(h.route(operations, pages, places), places, cfg, h.problems[sale.CodeOverloaded])
}

// route wires Echo. An operation's checks are attached to its route, so none is
// looked up while a request waits.
func (h *handlers) route(operations []*operation, pages pages, places *places) *echo.Echo {
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	e.Binder = validatedBinder{}
	e.HTTPErrorHandler = h.writeProblem
	// The one middleware that Echo knows: the chain ends with the route's handler, and passes
	// by what Echo would call next.
	routed := func(c echo.Context) error { return c.Handler()(c) }
	each := chained(routed, h.identify, h.observe, recoverPanics, limitBody, refuseDeeperPaths, refuseOptions)
	e.Use(func(echo.HandlerFunc) echo.HandlerFunc { return each })

	checks := make(map[string][]echo.MiddlewareFunc, len(operations))
	for _, op := range operations {
		checks[op.id] = []echo.MiddlewareFunc{op.check}
	}
	router := chainRouter{e}
	served := admitted{h, places, h.Meter}
	if h.Operations != nil {
		served.StrictServerInterface = h.Operations
	}
	strict := server.NewStrictHandler(encodedHolds{served}, []server.StrictMiddlewareFunc{refuseNil})
	server.RegisterHandlersWithOptions(router, strict, server.RegisterHandlersOptions{OperationMiddlewares: checks})
	pages.register(router)
	return e
}

// chained puts middlewares around a handler, the first outermost. Echo would do it anew
// for each request, with an allocation for each of them.
func chained(handler echo.HandlerFunc, middlewares ...echo.MiddlewareFunc) echo.HandlerFunc {
	for _, wrap := range slices.Backward(middlewares) {
		handler = wrap(handler)
	}
	return handler
}

// chainRouter registers handlers together with their middlewares, and answers HEAD
// wherever there is a GET; net/http leaves the body out.
type chainRouter struct{ *echo.Echo }

// GET registers a route for GET and HEAD.
func (r chainRouter) GET(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	whole := chained(h, m...)
	r.HEAD(path, whole)
	return r.Echo.GET(path, whole)
}

// POST registers a route for POST.
func (r chainRouter) POST(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.Echo.POST(path, chained(h, m...))
}

// PATCH registers a route for PATCH.
func (r chainRouter) PATCH(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.Echo.PATCH(path, chained(h, m...))
}

// DELETE registers a route for DELETE.
func (r chainRouter) DELETE(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.Echo.DELETE(path, chained(h, m...))
}

// refuseNil keeps a handler that returns neither a response nor an error from
// being answered with an empty 200.
func refuseNil(next server.StrictHandlerFunc, operationID string) server.StrictHandlerFunc {
	return func(c echo.Context, request any) (any, error) {
		response, err := next(c, request)
		if err == nil && response == nil {
			return nil, fmt.Errorf("operation %s gave neither a response nor an error", operationID)
		}
		return response, err
	}
}
