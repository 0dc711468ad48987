package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/telemetry"
)

const (
	problemMediaType = "application/problem+json"

	// statusClientGone stands in logs and metrics for a client that went away
	// before its answer was ready.
	statusClientGone = 499

	// defaultRetryAfter is for answers that must name a time but know none.
	defaultRetryAfter = time.Second
)

// writeProblem is the one mapper of failures: whatever went wrong is answered
// with a problem of the contract. Nothing but what a *sale.Error says about
// itself is shown; the rest is logged.
func (h *handlers) writeProblem(err error, c echo.Context) {
	failure := classify(err)
	kind, known := h.problems[failure.Code]
	if !known {
		failure = internal(err)
		kind = h.problems[codeInternal]
	}
	h.logFailure(c, kind.status, err)
	if c.Response().Committed {
		return
	}
	response := c.Response()
	setHeaders(response.Header(), echo.HeaderContentType, problemMediaType)
	if wait := retryAfter(kind.status, failure.RetryAfter); wait != "" {
		setHeaders(response.Header(), echo.HeaderRetryAfter, wait)
	}
	if kind.status == http.StatusMethodNotAllowed {
		setHeaders(response.Header(), echo.HeaderAllow, allowedMethods(c))
	}
	body, err := h.encodeProblem(c, failure, kind)
	if err == nil {
		response.WriteHeader(kind.status)
		_, err = response.Write(body)
	}
	if err != nil {
		h.Log.DebugContext(c.Request().Context(), "http.problem_not_written", slog.Any("error", err))
	}
}

func (h *handlers) encodeProblem(c echo.Context, failure *sale.Error, kind problemKind) ([]byte, error) {
	id, productID := telemetry.RequestID(c.Request().Context()), c.Param("product_id")
	if len(failure.Lines) > 0 && productID == "" {
		return h.refusals.encode(id, failure, kind)
	}
	return json.Marshal(newProblem(id, productID, failure, kind))
}

// classify finds the failure that a client may see in err.
func classify(err error) *sale.Error {
	var failure *sale.Error
	var tooLarge *http.MaxBytesError
	var echoError *echo.HTTPError
	switch {
	case errors.As(err, &failure):
		return failure
	case errors.As(err, &tooLarge):
		return sale.Fail(codePayloadTooLarge, fmt.Sprintf("The body has more than %d bytes.", tooLarge.Limit))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return sale.Fail(sale.CodeUnavailable, "The request was ended before it was done.")
	case errors.As(err, &echoError):
		return classifyEcho(echoError)
	default:
		return internal(err)
	}
}

func classifyEcho(err *echo.HTTPError) *sale.Error {
	switch {
	case err.Code == http.StatusNotFound:
		return sale.Fail(codeNotFound, "There is nothing at this path.")
	case err.Code == http.StatusMethodNotAllowed:
		return sale.Fail(codeMethodNotAllowed, "The path does not have this method.")
	case err.Code == http.StatusUnsupportedMediaType:
		return sale.Fail(codeUnsupportedMedia, "The body is of a media type that this operation does not take.")
	case err.Code >= http.StatusBadRequest && err.Code < http.StatusInternalServerError:
		return sale.Fail(sale.CodeMalformed, "The request cannot be read.")
	default:
		return internal(err)
	}
}

func internal(err error) *sale.Error {
	return &sale.Error{Code: codeInternal, Detail: "The server failed. Its log tells more under this request's id.", Cause: err}
}

// logFailure tells operators what a client must not see.
func (h *handlers) logFailure(c echo.Context, status int, err error) {
	ctx := c.Request().Context()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		exchangeOf(c).status = statusClientGone
		return
	}
	var failure *sale.Error
	switch {
	case status < http.StatusInternalServerError:
	case status == http.StatusServiceUnavailable && errors.As(err, &failure) && failure.Cause == nil:
	case status == http.StatusServiceUnavailable:
		h.Log.LogAttrs(ctx, slog.LevelWarn, "http.unavailable", failureAttrs(c, err)...)
	default:
		h.Log.LogAttrs(ctx, slog.LevelError, "http.failed", failureAttrs(c, err)...)
	}
}

func failureAttrs(c echo.Context, err error) []slog.Attr {
	attrs := []slog.Attr{slog.String("operation", exchangeOf(c).operation), slog.Any("error", err)}
	var crash *panicError
	if errors.As(err, &crash) {
		attrs = append(attrs, slog.String("stack", string(crash.stack)))
	}
	return attrs
}

// retryAfter is the header's value: whole seconds, rounded up, at least one; ""
// when waiting does not help. A 429 and a 503 always name a time.
func retryAfter(status int, wait time.Duration) string {
	if wait <= 0 && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
		wait = defaultRetryAfter
	}
	if wait <= 0 {
		return ""
	}
	seconds := int64(wait / time.Second)
	if wait%time.Second > 0 {
		seconds++
	}
	return strconv.FormatInt(seconds, 10)
}

// allowedMethods is what the router has for the path. It adds OPTIONS by
// itself, which this API refuses.
func allowedMethods(c echo.Context) string {
	routed, _ := c.Get(echo.ContextKeyHeaderAllow).(string)
	methods := slices.DeleteFunc(strings.Split(routed, ", "), func(m string) bool { return m == http.MethodOptions })
	return strings.Join(methods, ", ")
}

func newProblem(instance, productID string, failure *sale.Error, kind problemKind) server.Problem {
	p := server.Problem{
		Type:     "/problems/" + string(failure.Code),
		Title:    kind.title,
		Status:   kind.status,
		Detail:   optional(failure.Detail),
		Instance: instance,
		Code:     server.ProblemCode(failure.Code),
	}
	for _, field := range failure.Fields {
		p.Errors = append(p.Errors, server.FieldError{Pointer: field.Pointer, Detail: field.Detail})
	}
	if !failure.OrderID.IsZero() {
		p.OrderID = new(failure.OrderID.String())
	}
	if productID != "" {
		nameProduct(&p, failure, productID)
		return p
	}
	for _, refusal := range failure.Lines {
		p.Lines = append(p.Lines, refusedLine(refusal))
	}
	return p
}

// nameProduct is for operations on one product, whose problems carry its
// members themselves instead of lines.
func nameProduct(p *server.Problem, failure *sale.Error, productID string) {
	if failure.Code == sale.CodeProductNotFound || failure.Code == sale.CodeInsufficient {
		p.ProductID = &productID
	}
	if len(failure.Lines) == 1 {
		line := refusedLine(failure.Lines[0])
		p.Requested, p.Available = line.Requested, line.Available
	}
}

// refusedLine shows the members that belong to the refusal's code, zeros too.
func refusedLine(r sale.Refusal) server.RefusedLine {
	line := server.RefusedLine{Code: server.ProblemCode(r.Code), ProductID: r.ProductID.String()}
	switch {
	case r.Code == sale.CodeSaleNotStarted:
		line.SaleStartsAt = utc(r.SaleStartsAt)
	case r.Code == sale.CodeSaleEnded:
		line.SaleEndsAt = utc(r.SaleEndsAt)
	case r.Code == sale.CodeLimitReached:
		line.Limit, line.Current = &r.Limit, &r.Current
	case slices.Contains([]sale.Code{sale.CodeInsufficient, sale.CodeAllHeld, sale.CodeSoldOut}, r.Code):
		line.Requested, line.Available = &r.Requested, &r.Available
		line.NextReleaseAt = utc(r.NextReleaseAt)
	}
	return line
}
