package apitest

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Exchange is one request and what came of it.
type Exchange struct {
	Method string
	Path   string
	Status int           // 0 without an answer
	Took   time.Duration // until the answer was read
	Err    error         // a *BreachError, or why there is no answer
}

// Observe holds a client that takes any answer to the contract from now on, and shows
// each exchange to see.
func (a *API) Observe(tb testing.TB, see func(Exchange)) {
	tb.Helper()
	contract, err := readContract()
	require.NoError(tb, err)
	a.http.Transport = &observer{base: &checker{base: a.http.Transport, contract: contract}, see: see}
}

type observer struct {
	base http.RoundTripper
	see  func(Exchange)
}

// RoundTrip sends a request and tells of it.
func (o *observer) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	response, err := o.base.RoundTrip(r)
	seen := Exchange{Method: r.Method, Path: r.URL.Path, Took: time.Since(start), Err: err}
	if err == nil {
		seen.Status = response.StatusCode
	}
	o.see(seen)
	return response, err
}
