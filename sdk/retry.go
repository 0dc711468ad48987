package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/flashsale-api/flashsale/gen/client"
)

const (
	// maxTries is how often one request is sent at most.
	maxTries = 4
	// firstPause comes before the second try when the answer names none; it doubles.
	firstPause = 50 * time.Millisecond
	// maxPause is the longest pause that an answer may ask for. One that asks for
	// more is given to the caller.
	maxPause = 5 * time.Second
)

// retrier sends a request again, with its key, when no answer came or one that says
// that the same request may do better: nothing that a second try could do twice. A
// refusal is an answer.
type retrier struct{ next client.HttpRequestDoer }

// Do is http.Client's. The last try's answer or error is the caller's; a pause that the
// request's context would not outlive is not begun.
func (r *retrier) Do(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost && req.Header.Get(headerKey) == "" {
		req.Header.Set(headerKey, keyFor(req))
	}
	for try := 1; ; try++ {
		resp, body, err := r.send(req)
		if try == maxTries || err == nil && !worthAnother(resp.StatusCode, body) {
			return resp, err
		}
		again, rewindErr := rewound(req)
		if rewindErr != nil || !wait(req, pauseBefore(try, resp)) {
			return resp, err
		}
		req = again
	}
}

// send gives an answer once all of it is there, but for a stream, so that one which
// breaks off is no answer.
func (r *retrier) send(req *http.Request) (*http.Response, []byte, error) {
	resp, err := r.next.Do(req)
	if err != nil || resp.Header.Get("Content-Type") == "text/event-stream" {
		return resp, nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer to %s %s: %w", req.Method, req.URL.Path, err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, body, nil
}

// worthAnother says whether the same request may do better. What 503, and a proxy's 502
// and 504, say of the outcome does not matter: the key makes a second try safe.
func worthAnother(status int, body []byte) bool {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusConflict:
		var problem client.Problem
		return json.Unmarshal(body, &problem) == nil && problem.Code == client.ProblemCodeIdempotencyInProgress
	default:
		return false
	}
}

// pauseBefore is how long to wait before the next try.
func pauseBefore(try int, resp *http.Response) time.Duration {
	if resp != nil {
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			return time.Duration(seconds) * time.Second
		}
	}
	return firstPause << (try - 1)
}

// wait waits for the pause and up to a half more, so that a crowd does not come back
// at once. It is false for a pause that is too long, or longer than the request's
// context lasts.
func wait(req *http.Request, pause time.Duration) bool {
	if pause > maxPause {
		return false
	}
	ctx := req.Context()
	pause += rand.N(pause/2 + 1) //nolint:gosec // jitter, not a secret
	if deadline, bounded := ctx.Deadline(); ctx.Err() != nil || bounded && time.Until(deadline) <= pause {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// rewound is a request that can be sent once more.
func rewound(req *http.Request) (*http.Request, error) {
	again := req.Clone(req.Context())
	if req.Body == nil || req.Body == http.NoBody {
		return again, nil
	}
	if req.GetBody == nil {
		return nil, fmt.Errorf("the body of %s %s can be read once only", req.Method, req.URL.Path)
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("reading a request's body again: %w", err)
	}
	again.Body = body
	return again, nil
}
