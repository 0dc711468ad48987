// Package sdk is the generated client (gen/client) with what a backend needs around it:
// an idempotency key on every request that changes something, a second try wherever that
// is safe, connections enough for a crowd, and refusals as errors. Further tries end when
// more than a fifth of all requests need one for long: an outage does not become a storm.
//
//	api, err := sdk.New("https://shop.example.com")
//	reply, err := api.CreateHoldWithResponse(ctx, nil, request)
//	if err := sdk.Check(reply, err); err != nil { … }
//	hold := reply.JSON201
package sdk

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/flashsale-api/flashsale/gen/client"
)

// idleConnections are kept for the next request. net/http's own two would make a crowd
// connect anew each time.
const idleConnections = 256

// New makes a client of the service at a URL such as http://localhost:8080: one for a
// program, since it keeps its connections. The options are the generated client's; one
// that replaces the HTTP client keeps the keys and the tries. The error is for a URL
// that is none of HTTP, and an option's.
func New(server string, options ...client.ClientOption) (*client.ClientWithResponses, error) {
	at, err := url.Parse(server)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
		return nil, fmt.Errorf("%q is no URL of a server: want http://host:port or https://host", server)
	}
	api, err := client.NewClientWithResponses(server, append(options[:len(options):len(options)], withTries)...)
	if err != nil {
		return nil, fmt.Errorf("making a client of %s: %w", server, err)
	}
	return api, nil
}

func withTries(c *client.Client) error {
	if c.Client == nil {
		c.Client = &http.Client{Transport: transport(), CheckRedirect: stay}
	}
	c.Client = &retrier{next: c.Client, budget: newBudget()}
	return nil
}

// stay follows no redirect: one would make a GET of a POST, and its answer would look
// like the effect.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// transport is net/http's with connections for a crowd.
func transport() http.RoundTripper {
	own, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport // somebody's own, for the whole program
	}
	own = own.Clone()
	own.MaxIdleConnsPerHost = idleConnections
	own.MaxIdleConns = 0
	return own
}
