package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// answer runs one handler behind all middlewares.
func answer(t *testing.T, h *handlers, r *http.Request, path string, handler echo.HandlerFunc) *httptest.ResponseRecorder {
	t.Helper()
	e := h.route(nil, pages{}, newPlaces())
	e.Any(path, handler)
	return serve(e, r)
}

func TestFailuresBecomeProblems(t *testing.T) {
	product, order := sale.NewProductID(), sale.OrderOf(sale.NewHoldID(sale.NewProductID()))
	for name, test := range map[string]struct {
		err        error
		status     int
		code       string
		retryAfter string
	}{
		"a domain failure":              {sale.Fail(sale.CodeSoldOut, "None is left."), 409, "sold_out", ""},
		"a wrapped domain failure":      {fmt.Errorf("make a hold: %w", sale.Fail(sale.CodeHoldExpired, "")), 409, "hold_expired", ""},
		"a time to wait is rounded up":  {&sale.Error{Code: sale.CodeAllHeld, RetryAfter: 1001 * time.Millisecond}, 409, "all_held", "2"},
		"a blink is a second":           {&sale.Error{Code: sale.CodeKeyInProgress, RetryAfter: time.Nanosecond}, 409, "idempotency_in_progress", "1"},
		"503 names a time by itself":    {sale.Fail(sale.CodeOverloaded, ""), 503, "overloaded", "1"},
		"503 names the time it is told": {&sale.Error{Code: sale.CodeOutcomeUnknown, RetryAfter: 3 * time.Second}, 503, "outcome_unknown", "3"},
		"an unknown code":               {sale.Fail("brand_new", "Secret."), 500, "internal_error", ""},
		"an error":                      {errors.New("dial tcp 10.0.0.1: secret"), 500, "internal_error", ""},
		"a deadline":                    {fmt.Errorf("query: %w", context.DeadlineExceeded), 503, "unavailable", "1"},
		"a body cut off":                {&http.MaxBytesError{Limit: MaxBody}, 413, "payload_too_large", ""},
		"a body that broke off":         {fmt.Errorf("read: %w", func() error { _, err := readBody(brokenBody{}, -1); return err }()), 400, "malformed_request", ""},
		"no route":                      {echo.ErrNotFound, 404, "not_found", ""},
		"a fault of the generated code": {echo.NewHTTPError(400, "Invalid format for parameter: strconv.ParseInt"), 400, "malformed_request", ""},
		"a fault of Echo":               {echo.ErrInternalServerError, 500, "internal_error", ""},
		"a duplicate order":             {&sale.Error{Code: sale.CodeHoldOrdered, OrderID: order}, 409, "hold_already_ordered", ""},
		"a product that is not there":   {&sale.Error{Code: sale.CodeProductNotFound, Lines: []sale.Refusal{{Code: sale.CodeProductNotFound, ProductID: product}}}, 404, "product_not_found", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := answer(t, newHandlers(t, io.Discard), request(t, http.MethodGet, "/x", ""), "/x", func(echo.Context) error { return test.err })
			requireProblem(t, w, test.status, test.code)
			require.Equal(t, test.retryAfter, w.Header().Get("Retry-After"))
			for _, hidden := range []string{"secret", "Secret", "strconv", "dial"} {
				require.NotContains(t, w.Body.String(), hidden)
			}
		})
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestRefusedLinesCarryTheMembersOfTheirCodes(t *testing.T) {
	product := sale.NewProductID()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		refusal sale.Refusal
		members string
	}{
		"product_not_found":  {sale.Refusal{}, `{}`},
		"sale_not_started":   {sale.Refusal{SaleStartsAt: &noon, SaleEndsAt: &noon}, `{"sale_starts_at":"2026-03-01T12:00:00Z"}`},
		"sale_ended":         {sale.Refusal{SaleEndsAt: &noon}, `{"sale_ends_at":"2026-03-01T12:00:00Z"}`},
		"limit_reached":      {sale.Refusal{Limit: 2}, `{"limit":2,"current":0}`},
		"insufficient_stock": {sale.Refusal{Requested: 3, Available: 1}, `{"requested":3,"available":1}`},
		"all_held":           {sale.Refusal{Requested: 3, NextReleaseAt: &noon}, `{"requested":3,"available":0,"next_release_at":"2026-03-01T12:00:00Z"}`},
		"sold_out":           {sale.Refusal{Requested: 3}, `{"requested":3,"available":0}`},
	} {
		t.Run(name, func(t *testing.T) {
			test.refusal.Code, test.refusal.ProductID = sale.Code(name), product
			text, err := json.Marshal(refusedLine(test.refusal))
			require.NoError(t, err)
			var want map[string]any
			require.NoError(t, json.Unmarshal([]byte(test.members), &want))
			want["code"], want["product_id"] = name, product.String()
			wanted, err := json.Marshal(want)
			require.NoError(t, err)
			require.JSONEq(t, string(wanted), string(text))
		})
	}
}

func TestAnOperationOnOneProductCarriesItsMembersItself(t *testing.T) {
	product := sale.NewProductID()
	failure := &sale.Error{Code: sale.CodeInsufficient, Lines: []sale.Refusal{
		{Code: sale.CodeInsufficient, ProductID: product, Requested: 3, Available: 1},
	}}
	r := request(t, http.MethodPost, "/p/"+product.String(), "")
	w := answer(t, newHandlers(t, io.Discard), r, "/p/:product_id", func(echo.Context) error { return failure })
	p := requireProblem(t, w, 409, "insufficient_stock")
	require.Equal(t, product.String(), value(p.ProductID))
	require.EqualValues(t, 3, value(p.Requested))
	require.EqualValues(t, 1, value(p.Available))
	require.Empty(t, p.Lines)
}

func TestAPanicIsAProblemAndItsStackIsLogged(t *testing.T) {
	var log bytes.Buffer
	w := answer(t, newHandlers(t, &log), request(t, http.MethodGet, "/x", ""), "/x", func(echo.Context) error { panic("secret") })
	requireProblem(t, w, 500, "internal_error")
	require.NotContains(t, w.Body.String(), "secret")
	require.Contains(t, log.String(), "panic: secret")
	require.Contains(t, log.String(), "errors_test.go")
}

func TestAnAnswerThatFailsHalfWayIsCutOff(t *testing.T) {
	h := newHandlers(t, io.Discard)
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		answer(t, h, request(t, http.MethodGet, "/x", ""), "/x", func(c echo.Context) error {
			c.Response().WriteHeader(http.StatusOK)
			return errors.New("the rest is lost")
		})
	})
	require.Equal(t, []served{{"other", "GET", 200}}, h.Meter.(*recordingMeter).calls) //nolint:errcheck,forcetypeassert // a panic fails the test as well
}

func TestAClientThatWentAwayIsNoFaultOfTheServer(t *testing.T) {
	var log bytes.Buffer
	h := newHandlers(t, &log)
	r := request(t, http.MethodGet, "/x", "")
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	answer(t, h, r.WithContext(ctx), "/x", func(c echo.Context) error { return c.Request().Context().Err() })
	require.Equal(t, []served{{"other", "GET", statusClientGone}}, h.Meter.(*recordingMeter).calls) //nolint:errcheck,forcetypeassert // a panic fails the test as well
	require.NotContains(t, log.String(), `"level":"ERROR"`)
}

func TestAHandlerThatGivesNothingIsAnInternalError(t *testing.T) {
	nothing := refuseNil(func(echo.Context, any) (any, error) { return nil, nil }, "GetHold") //nolint:nilnil // what is guarded against
	response, err := nothing(nil, nil)
	require.Nil(t, response)
	require.ErrorContains(t, err, "GetHold")

	something := refuseNil(func(echo.Context, any) (any, error) { return server.GetHold200JSONResponse{}, nil }, "GetHold")
	response, err = something(nil, nil)
	require.NoError(t, err)
	require.NotNil(t, response)
}

func TestRetryAfterIsWholeSecondsRoundedUp(t *testing.T) {
	for _, test := range []struct {
		status int
		wait   time.Duration
		want   string
	}{
		{409, 0, ""},
		{409, -time.Second, ""},
		{409, 1, "1"},
		{409, time.Second, "1"},
		{409, time.Second + 1, "2"},
		{409, 90 * time.Minute, "5400"},
		{429, 0, "1"},
		{503, 0, "1"},
		{503, -time.Hour, "1"},
		{503, 2500 * time.Millisecond, "3"},
	} {
		require.Equal(t, test.want, retryAfter(test.status, test.wait), "%d %s", test.status, test.wait)
	}
}

func TestAnUnknownOrderIsWhatTheServerIsSetTo(t *testing.T) {
	h := newHandlers(t, io.Discard)
	unknown := sale.Fail(sale.CodeOrderNotFound, "There is no such order.")
	require.ErrorIs(t, h.unknownOrder(unknown), unknown)

	h.UnknownOrderStatus = http.StatusServiceUnavailable
	var later *sale.Error
	require.ErrorAs(t, h.unknownOrder(unknown), &later)
	require.Equal(t, sale.CodeUnavailable, later.Code)
	require.Equal(t, unknownOrderRetry, later.RetryAfter, "an order may take longer than a server's bad moment")
	other := errors.New("another")
	require.ErrorIs(t, h.unknownOrder(other), other)
}
