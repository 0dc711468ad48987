package apitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/flashsale-api/flashsale/api"
	"github.com/flashsale-api/flashsale/gen/client"
)

// noOperation stands in a Record for paths and methods that the contract does
// not list.
const noOperation = "none"

// contract is the document, and what each operation may answer.
type contract struct {
	doc *openapi3.T
}

// readContract reads the document once for the process.
//
//nolint:gochecknoglobals // the life of the process is the right one
var readContract = sync.OnceValues(func() (*contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	return &contract{doc: doc}, nil
})

// anywhere is what any path may answer, as the contract's introduction says.
func anywhere() map[client.ProblemCode]int {
	return map[client.ProblemCode]int{
		client.ProblemCodeNotFound:         http.StatusNotFound,
		client.ProblemCodeMethodNotAllowed: http.StatusMethodNotAllowed,
		client.ProblemCodePayloadTooLarge:  http.StatusRequestEntityTooLarge,
		client.ProblemCodeInternalError:    http.StatusInternalServerError,
		client.ProblemCodeUnavailable:      http.StatusServiceUnavailable,
		client.ProblemCodeOverloaded:       http.StatusServiceUnavailable,
		client.ProblemCodeOutcomeUnknown:   http.StatusServiceUnavailable,
	}
}

// BreachError is an answer that breaks the contract.
type BreachError struct {
	Exchange string // what was asked and answered
	Cause    error
}

// Error tells both.
func (e *BreachError) Error() string {
	return e.Exchange + " breaks the contract: " + e.Cause.Error()
}

// Unwrap gives the cause.
func (e *BreachError) Unwrap() error { return e.Cause }

// checker lets through those answers only that follow the contract.
type checker struct {
	base     http.RoundTripper
	contract *contract
	record   *Record
}

// RoundTrip sends a request and checks its answer. Of a stream it checks the head:
// Stream checks what comes.
func (c *checker) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	var body []byte
	if !isStream(response) {
		body, err = io.ReadAll(response.Body)
		if err = errors.Join(err, response.Body.Close()); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		response.Body = io.NopCloser(bytes.NewReader(body))
	}
	seen, err := c.contract.check(r, response, body)
	if err != nil {
		return nil, &BreachError{Exchange: fmt.Sprintf("%s %s: %d %s", r.Method, r.URL.Path, response.StatusCode, body), Cause: err}
	}
	c.record.add(seen)
	return response, nil
}

func (c *contract) check(r *http.Request, response *http.Response, body []byte) (sighting, error) {
	seen := sighting{operation: noOperation, status: response.StatusCode}
	if response.Header.Get("X-Request-Id") == "" {
		return seen, errors.New("it names no request id")
	}
	if kept := response.Header.Get("Cache-Control"); kept != "no-store" && kept != "no-cache" {
		return seen, fmt.Errorf("a cache may keep it: Cache-Control is %q", kept)
	}
	head := r.Method == http.MethodHead
	if head && len(body) > 0 {
		return seen, errors.New("an answer to HEAD has a body")
	}
	route := c.route(r)
	if route != nil {
		seen.operation = route.Operation.OperationID
		if err := checkListed(r, response, body, route); err != nil {
			return seen, err
		}
	}
	if head || response.StatusCode < http.StatusBadRequest {
		return seen, nil
	}
	code, err := checkProblem(response, body)
	if err != nil {
		return seen, err
	}
	seen.code = code
	if !allowed(route, response.StatusCode, seen.code) {
		return seen, fmt.Errorf("the contract does not give %s with this status here", seen.code)
	}
	return seen, nil
}

// route finds the operation, nil where the contract lists none. HEAD is answered
// as GET.
func (c *contract) route(r *http.Request) *routers.Route {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for path, item := range c.doc.Paths.Map() {
		if operation := item.Operations()[method]; operation != nil && matches(path, r.URL.Path) {
			return &routers.Route{Spec: c.doc, Path: path, PathItem: item, Method: method, Operation: operation}
		}
	}
	return nil
}

// matches says whether a path is one of a template's: a parameter is one segment.
func matches(template, path string) bool {
	segments := strings.Split(path, "/")
	for i, part := range strings.Split(template, "/") {
		if i >= len(segments) || segments[i] == "" && part != "" || part != segments[i] && !strings.HasPrefix(part, "{") {
			return false
		}
	}
	return strings.Count(template, "/") == strings.Count(path, "/")
}

func checkListed(r *http.Request, response *http.Response, body []byte, route *routers.Route) error {
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: route},
		Status:                 response.StatusCode,
		Header:                 response.Header,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, MultiError: true,
			ExcludeResponseBody: r.Method == http.MethodHead || isStream(response),
		},
	}
	input.SetBodyBytes(body)
	if response.StatusCode == http.StatusNotModified && len(body) > 0 {
		return errors.New("a 304 has a body")
	}
	return openapi3filter.ValidateResponse(r.Context(), input)
}

// allowed says whether the contract shows this code for this status, as an
// example of the operation's, or for any path.
func allowed(route *routers.Route, status int, code client.ProblemCode) bool {
	if route == nil {
		return anywhere()[code] == status
	}
	documented := route.Operation.Responses.Status(status)
	return documented != nil && slices.Contains(codesOf(documented.Value), code)
}

// codesOf are the codes of a response's examples.
func codesOf(response *openapi3.Response) []client.ProblemCode {
	content := response.Content["application/problem+json"]
	if content == nil {
		return nil
	}
	var codes []client.ProblemCode
	for _, example := range content.Examples {
		if members, ok := example.Value.Value.(map[string]any); ok {
			code, _ := members["code"].(string)
			codes = append(codes, client.ProblemCode(code))
		}
	}
	return codes
}

// checkProblem asserts what is true of every problem and its headers.
func checkProblem(response *http.Response, body []byte) (client.ProblemCode, error) {
	if mediaType := response.Header.Get("Content-Type"); mediaType != "application/problem+json" {
		return "", fmt.Errorf("a failure is %q, no problem", mediaType)
	}
	var problem client.Problem
	if err := json.Unmarshal(body, &problem); err != nil {
		return "", fmt.Errorf("the problem is no JSON: %w", err)
	}
	retry := response.Header.Get("Retry-After") != ""
	faults := []struct {
		broken bool
		what   string
	}{
		{!problem.Code.Valid(), "the code is unknown"},
		{problem.Status != response.StatusCode, "the problem has another status"},
		{problem.Type != "/problems/"+string(problem.Code), "the type is not the code's page"},
		{problem.Instance != response.Header.Get("X-Request-Id"), "the instance is not the request id"},
		{retry != mustRetry(response.StatusCode, problem.Code), "Retry-After does not fit the code"},
		{response.StatusCode == http.StatusMethodNotAllowed && response.Header.Get("Allow") == "", "Allow is missing"},
		{problem.Code == client.ProblemCodeInvalidRequest && len(problem.Errors) == 0, "nothing says what is invalid"},
		{strings.Contains(strings.ToLower(string(body)), "sql:"), "the database's own words show"},
	}
	for _, fault := range faults {
		if fault.broken {
			return problem.Code, errors.New(fault.what)
		}
	}
	return problem.Code, nil
}

// mustRetry says whether waiting can help.
func mustRetry(status int, code client.ProblemCode) bool {
	return status == http.StatusServiceUnavailable || code == client.ProblemCodeSaleNotStarted ||
		code == client.ProblemCodeAllHeld || code == client.ProblemCodeIdempotencyInProgress
}
