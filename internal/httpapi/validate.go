package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/labstack/echo/v4"
	"github.com/oapi-codegen/runtime"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/budget"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// webhookOperation gets its body as it came: nothing may read it before its
	// signature was verified.
	webhookOperation = "receivePaymentWebhook"

	ifNoneMatch = "If-None-Match"

	// identityCoding is that of a body as it is.
	identityCoding = "identity"

	// usualBody is more than most bodies have, in bytes.
	usualBody = 4 << 10
)

// operation checks requests of one operation against the contract.
type operation struct {
	id         string
	parameters []parameter
	query      bool            // some parameter is in the query
	bodies     map[string]body // by media type; nil: no body
	raw        bool            // the body is for the handler alone
	stream     bool            // its success does not end by itself
	budget     time.Duration   // of each request to begin things; 0: not bounded
	options    *openapi3filter.Options
	schema     []openapi3.SchemaValidationOption
}

// body is what a media type's body has to follow.
type body struct {
	*openapi3.Schema
	plain plainValue // nil: none
}

// parameter is one of an operation's, and how faults point at it.
type parameter struct {
	*openapi3.Parameter
	pointer string
	plain   plainText // nil: none
}

// newOperations reads all operations of the contract, whose requests get so much time
// to begin things.
func newOperations(doc *openapi3.T, limit time.Duration) ([]*operation, error) {
	var operations []*operation
	for path, item := range doc.Paths.Map() {
		for method, spec := range item.Operations() {
			if spec.OperationID == "" {
				return nil, fmt.Errorf("%s %s has no operationId", method, path)
			}
			op := newOperation(item, spec)
			op.budget = limit
			operations = append(operations, op)
		}
	}
	return operations, nil
}

func newOperation(item *openapi3.PathItem, spec *openapi3.Operation) *operation {
	times := openapi3.WithStringFormatValidator("date-time", openapi3.NewCallbackValidator(checkTime))
	op := &operation{
		id:  spec.OperationID,
		raw: spec.OperationID == webhookOperation,
		options: &openapi3filter.Options{
			MultiError:              true,
			SkipSettingDefaults:     true,
			SchemaValidationOptions: []openapi3.SchemaValidationOption{times},
		},
		schema: []openapi3.SchemaValidationOption{openapi3.VisitAsRequest(), openapi3.MultiErrors(), times},
	}
	if success := spec.Responses.Status(http.StatusOK); success != nil {
		op.stream = success.Value.Content[streamMediaType] != nil
	}
	for _, ref := range slices.Concat(item.Parameters, spec.Parameters) {
		// An unfit request id is replaced, not refused.
		if strings.EqualFold(ref.Value.Name, echo.HeaderXRequestID) {
			continue
		}
		pointer := "/" + ref.Value.In + "/" + escapePointer(ref.Value.Name)
		op.parameters = append(op.parameters, parameter{ref.Value, pointer, plainParameter(ref.Value)})
		op.query = op.query || ref.Value.In == openapi3.ParameterInQuery
	}
	if spec.RequestBody != nil {
		op.bodies = map[string]body{}
		for mediaType, content := range spec.RequestBody.Value.Content {
			op.bodies[mediaType] = body{content.Schema.Value, plainOf(content.Schema.Value)}
		}
	}
	return op
}

// plainParameter is the plain check of a parameter that is a text and comes as it is.
func plainParameter(p *openapi3.Parameter) plainText {
	if p.In == openapi3.ParameterInQuery || p.Style != "" || p.Content != nil || p.Schema == nil {
		return nil
	}
	return plainTextOf(p.Schema.Value)
}

// check lets a request through to its handler when it follows the contract. All
// faults of its parameters and its body are told at once.
func (op *operation) check(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		exchangeOf(c).operation = op.id
		faults, err := op.checkParameters(c)
		if err != nil {
			return err
		}
		if op.bodies != nil {
			more, err := op.checkBody(c)
			if err != nil {
				return err
			}
			faults = append(faults, more...)
		}
		if len(faults) > 0 {
			return &sale.Error{Code: sale.CodeInvalidRequest, Detail: "The request does not follow the contract.", Fields: faults}
		}
		if op.stream {
			defer beginStream(c)()
		}
		// From here on: a client that sends its body slowly has lost nothing of it. That
		// of a raw one is still to be read.
		if op.budget > 0 && !op.raw {
			known := exchangeOf(c)
			known.Context = budget.Within(known.Context, op.budget)
		}
		return next(c)
	}
}

func (op *operation) checkParameters(c echo.Context) ([]sale.FieldError, error) {
	if len(op.parameters) == 0 {
		return nil, nil
	}
	r := c.Request()
	var query url.Values
	if op.query {
		var err error
		if query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			return nil, malformed("The query string cannot be read.")
		}
	}
	joinLines(r.Header, ifNoneMatch)
	var faults []sale.FieldError
	for _, p := range op.parameters {
		switch first, times := given(c, query, p); {
		case times > 1:
			faults = append(faults, sale.FieldError{Pointer: p.pointer, Detail: "must be given once"})
		case times == 1 && first != "" && p.plain != nil && p.plain(first):
		case times == 1 || p.Required:
			input := &openapi3filter.RequestValidationInput{
				Request: r, Options: op.options, QueryParams: query, PathParams: map[string]string{p.Name: first},
			}
			if err := openapi3filter.ValidateParameter(r.Context(), input, p.Parameter); err != nil {
				faults = appendFaults(faults, p.pointer, p.Schema.Value, err)
			}
		}
	}
	return faults, nil
}

// given is what the request has for a parameter, and how often.
func given(c echo.Context, query url.Values, p parameter) (first string, times int) {
	var values []string
	switch p.In {
	case openapi3.ParameterInQuery:
		values = query[p.Name]
	case openapi3.ParameterInHeader:
		values = c.Request().Header.Values(p.Name)
	case openapi3.ParameterInPath:
		value := c.Param(p.Name)
		if c.Request().URL.RawPath != "" {
			if plain, err := url.PathUnescape(value); err == nil {
				value = plain
			}
		}
		return value, 1
	}
	if len(values) == 0 {
		return "", 0
	}
	return values[0], len(values)
}

// joinLines makes one line of a header that is a list, as HTTP allows.
func joinLines(header http.Header, name string) {
	if lines := header.Values(name); len(lines) > 1 {
		header.Set(name, strings.Join(lines, ", "))
	}
}

// checkBody reads the body and leaves what it holds, once validated, for
// validatedBinder. Nothing is done to a raw one but to look at its
// coding and media type.
func (op *operation) checkBody(c echo.Context) ([]sale.FieldError, error) {
	r := c.Request()
	if isCoded(r.Header.Values(echo.HeaderContentEncoding)) {
		setHeaders(c.Response().Header(), echo.HeaderAcceptEncoding, identityCoding)
		return nil, sale.Fail(codeUnsupportedMedia, "The body has a Content-Encoding, which the server does not take.")
	}
	schema, ok := op.bodySchema(r.Header.Values(echo.HeaderContentType))
	if !ok {
		return nil, sale.Fail(codeUnsupportedMedia, "The body is of a media type that this operation does not take.")
	}
	if op.raw {
		return nil, nil
	}
	data, err := readBody(r.Body, r.ContentLength)
	if err != nil {
		return nil, err
	}
	value, err := decodeJSON(data)
	if err != nil {
		return nil, err
	}
	if schema.plain == nil || !schema.plain(value) {
		if err := schema.VisitJSON(value, op.schema...); err != nil {
			return appendFaults(nil, "", schema.Schema, err), nil
		}
	}
	exchangeOf(c).validated = value
	return nil, nil
}

// isCoded says whether a body comes in any coding, which would be taken for its text.
func isCoded(contentEncodings []string) bool {
	for _, line := range contentEncodings {
		for coding := range strings.SplitSeq(line, ",") {
			if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, identityCoding) {
				return true
			}
		}
	}
	return false
}

// bodySchema finds the schema for the one Content-Type of a request. JSON is
// UTF-8, so another charset is another media type.
func (op *operation) bodySchema(contentTypes []string) (body, bool) {
	if len(contentTypes) != 1 {
		return body{}, false
	}
	if schema, ok := op.bodies[contentTypes[0]]; ok {
		return schema, true
	}
	mediaType, parameters, err := mime.ParseMediaType(contentTypes[0])
	if err != nil {
		return body{}, false
	}
	if charset, named := parameters["charset"]; named && !strings.EqualFold(charset, "utf-8") {
		return body{}, false
	}
	schema, ok := op.bodies[mediaType]
	return schema, ok
}

// readBody reads a limited body whole. One that breaks off is the client's fault. Its
// length is negative when it is not known; for a usual one just the room is taken that
// it needs, for a large one no more than has come.
func readBody(body io.Reader, length int64) (data []byte, err error) {
	if length >= 0 && length <= usualBody {
		data = make([]byte, length)
		_, err = io.ReadFull(body, data)
	} else {
		data, err = io.ReadAll(body)
	}
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLarge) {
		return nil, &sale.Error{Code: sale.CodeMalformed, Detail: "The body could not be read to its end.", Cause: err}
	}
	return data, err
}

// validatedBinder binds the very value that was validated, member names matched
// exactly. Nothing reads the body a second time, so nothing can be bound that
// was not validated.
type validatedBinder struct{}

// Bind fills target with the request's validated value.
func (validatedBinder) Bind(target any, c echo.Context) error {
	validated := exchangeOf(c).validated
	if body, ok := target.(*server.CreateHoldJSONRequestBody); ok && bindHold(validated, body) {
		return nil
	}
	if err := runtime.BindJSONValue(validated, target); err != nil {
		return fmt.Errorf("bind a validated body: %w", err)
	}
	return nil
}
