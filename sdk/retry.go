package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/flashsale-api/flashsale/gen/client"
)

const (
	// maxTries is how often one request is sent at most.
	maxTries = 4
	// answerLimit is how long one try waits for its whole answer; a stream has to
	// begin within it. A service answers earlier, whatever its operation timeout is.
	answerLimit = 30 * time.Second
	// firstPause is the shortest pause before the second try; it doubles.
	firstPause = 50 * time.Millisecond
	// maxPause is the longest pause that an answer may ask for. One that asks for
	// more is given to the caller.
	maxPause = 5 * time.Second

	problemType = "application/problem+json"
	streamType  = "text/event-stream"
)

// retrier sends a request again, with its key, when no answer came or one that says
// that the same request may do better: nothing that a second try could do twice. A
// refusal is an answer.
type retrier struct {
	next   client.HttpRequestDoer
	budget *budget
}

// Do is http.Client's. The last try's answer or error is the caller's, but for one that says
// that nothing was done after a try that may have done it: then it is that try's. A pause that
// the request's context would not outlive is not begun, nor one when the budget is spent.
func (r *retrier) Do(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost && req.Header.Get(headerKey) == "" {
		req.Header.Set(headerKey, keyFor(req))
	}
	r.budget.earn()
	var doubt *outcome
	for try := 1; ; try++ {
		resp, body, err := r.send(req)
		last := &outcome{resp, err}
		switch {
		case !nothingDone(resp, body):
			doubt = last
		case doubt != nil && !isRead(req):
			last = doubt
		}
		if try == maxTries || !worthAnother(req, resp, body) {
			return last.resp, last.err
		}
		pause, asked := pauseBefore(try, resp)
		if !asked || !r.another(req.Context(), pause) {
			return last.resp, because(req.Context(), last.err)
		}
		again, rewindErr := rewound(req)
		if rewindErr != nil {
			return last.resp, last.err
		}
		req = again
	}
}

// outcome is what one try came to.
type outcome struct {
	resp *http.Response
	err  error
}

// another waits for the pause and up to a half more, so that a crowd does not come back at
// once, and says whether there is another try. One that the caller has no time for costs nothing.
func (r *retrier) another(ctx context.Context, pause time.Duration) bool {
	pause += rand.N(pause/2 + 1) //nolint:gosec // jitter, not a secret
	if deadline, bounded := ctx.Deadline(); ctx.Err() != nil || bounded && time.Until(deadline) <= pause {
		return false
	}
	return r.budget.spend() && wait(ctx, pause)
}

// because adds to a failure that the caller did not wait for another try.
func because(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, ctx.Err())
}

// send gives an answer once all of it is there, but for a stream, so that one which
// breaks off is no answer.
func (r *retrier) send(req *http.Request) (*http.Response, []byte, error) {
	ctx, cancel := context.WithCancel(req.Context())
	timer := time.AfterFunc(answerLimit, cancel)
	defer timer.Stop()
	resp, err := r.next.Do(req.WithContext(ctx))
	if err == nil && isStream(resp) {
		resp.Body = &stream{resp.Body, cancel}
		return resp, nil, nil
	}
	defer cancel()
	var body []byte
	if err == nil {
		body, err = whole(req, resp)
	}
	switch {
	case err != nil && ctx.Err() != nil && req.Context().Err() == nil:
		return nil, nil, fmt.Errorf("%s %s had no answer within %s: %w", req.Method, req.URL.Path, answerLimit, err)
	case err != nil:
		return nil, nil, err
	}
	return resp, body, nil
}

// whole reads an answer and leaves it to be read again. One of somebody else, a proxy
// for example, is not taken for the service's.
func whole(req *http.Request, resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("reading the answer to %s %s: %w", req.Method, req.URL.Path, err)
	}
	if resp.Request != nil && resp.Request.Method != req.Method {
		return nil, fmt.Errorf("%s %s was redirected and became %s", req.Method, req.URL.Path, resp.Request.Method)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if resp.StatusCode >= http.StatusMultipleChoices && !has(resp, problemType) {
		resp.Header.Set("Content-Type", "text/plain")
	}
	return body, nil
}

func isStream(resp *http.Response) bool {
	return resp.StatusCode == http.StatusOK && has(resp, streamType)
}

func has(resp *http.Response, mediaType string) bool {
	got, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && got == mediaType
}

// stream is an answer that ends its try when it is closed.
type stream struct {
	io.ReadCloser
	end context.CancelFunc
}

func (s *stream) Close() error {
	defer s.end()
	return s.ReadCloser.Close()
}

// worthAnother says whether the same request may do better. With a key, or for a read,
// what 503, a proxy's 502 and 504 and a lost answer say of the outcome does not matter.
// Without, only what says that nothing was done is tried again: somebody else may have
// changed the same thing meanwhile.
func worthAnother(req *http.Request, resp *http.Response, body []byte) bool {
	repeatable := isRead(req) || req.Header.Get(headerKey) != ""
	if resp == nil {
		return repeatable
	}
	switch resp.StatusCode {
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return repeatable
	case http.StatusServiceUnavailable:
		return repeatable || nothingDone(resp, body)
	case http.StatusConflict:
		return codeOf(resp, body) == client.ProblemCodeIdempotencyInProgress
	default:
		return false
	}
}

func isRead(req *http.Request) bool {
	return req.Method == http.MethodGet
}

// nothingDone says whether this is the service's word that a try had no effect, and that
// another may.
func nothingDone(resp *http.Response, body []byte) bool {
	if resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		return false
	}
	code := codeOf(resp, body)
	return code == client.ProblemCodeUnavailable || code == client.ProblemCodeOverloaded
}

func codeOf(resp *http.Response, body []byte) client.ProblemCode {
	var problem client.Problem
	if !has(resp, problemType) || json.Unmarshal(body, &problem) != nil {
		return ""
	}
	return problem.Code
}

// pauseBefore is how long to wait before the next try; false for longer than a caller
// is kept.
func pauseBefore(try int, resp *http.Response) (time.Duration, bool) {
	pause := firstPause << (try - 1)
	if resp == nil {
		return pause, true
	}
	after := resp.Header.Get("Retry-After")
	if at, err := http.ParseTime(after); err == nil {
		asked := time.Until(at)
		return max(pause, asked), asked <= maxPause
	}
	seconds, err := strconv.ParseUint(after, 10, 64)
	switch {
	case err != nil:
		return pause, !errors.Is(err, strconv.ErrRange)
	case seconds > uint64(maxPause/time.Second):
		return 0, false
	default:
		return max(pause, time.Duration(seconds)*time.Second), true
	}
}

// wait is false when the context ends before the pause.
func wait(ctx context.Context, pause time.Duration) bool {
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
