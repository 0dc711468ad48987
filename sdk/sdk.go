// Package sdk is the generated client (gen/client) with what a backend needs around it:
// an idempotency key on every request that changes something, a second try wherever that
// is safe, connections enough for a crowd, and refusals as errors.
//
//	api, err := sdk.New("https://shop.example.com")
//	reply, err := api.CreateHoldWithResponse(ctx, nil, request)
//	if err := sdk.Check(reply, err); err != nil { … }
//	hold := reply.JSON201
package sdk

import (
	"fmt"
	"net/http"
	"time"

	"github.com/flashsale-api/flashsale/gen/client"
)

const (
	// answerLimit is how long one try waits for an answer to begin. The service
	// itself answers earlier, unless it, or the network, is broken.
	answerLimit = 10 * time.Second
	// idleConnections are kept for the next request. net/http's own two would make
	// a crowd connect anew each time.
	idleConnections = 256
)

// New makes a client of the service at a URL such as http://localhost:8080. The
// options are the generated client's; one that replaces the HTTP client keeps the keys
// and the tries.
func New(url string, options ...client.ClientOption) (*client.ClientWithResponses, error) {
	api, err := client.NewClientWithResponses(url, append(options[:len(options):len(options)], withTries)...)
	if err != nil {
		return nil, fmt.Errorf("making a client of %s: %w", url, err)
	}
	return api, nil
}

func withTries(c *client.Client) error {
	if c.Client == nil {
		c.Client = &http.Client{Transport: transport()}
	}
	c.Client = &retrier{next: c.Client}
	return nil
}

// transport is net/http's with a bound on a silent server. A client's timeout would
// end a stream of events, too.
func transport() http.RoundTripper {
	own, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport // somebody's own, for the whole program
	}
	own = own.Clone()
	own.MaxIdleConnsPerHost = idleConnections
	own.MaxIdleConns = 0
	own.ResponseHeaderTimeout = answerLimit
	return own
}
