package stress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// target is the server that gets the load.
type target struct {
	http     *http.Client
	remote   Remote
	buyers   int64
	products []sale.ProductID
	holds    *http.Request // what all requests have in common
}

// newTarget prepares a client that talks to the URL's host alone: through no
// proxy, and following no redirect.
func newTarget(plan LoadPlan) (*target, error) {
	caller := &http.Client{
		Timeout: httpTimeout,
		Transport: &http.Transport{
			MaxIdleConns: MaxInFlight, MaxIdleConnsPerHost: MaxInFlight,
			IdleConnTimeout: httpTimeout, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	api, err := client.NewClientWithResponses(plan.URL, client.WithHTTPClient(caller))
	if err != nil {
		return nil, fmt.Errorf("making a client of %s: %w", plan.URL, err)
	}
	holds, err := client.NewCreateHoldRequest(plan.URL, nil, client.CreateHoldRequest{})
	if err != nil {
		return nil, fmt.Errorf("preparing the requests: %w", err)
	}
	return &target{http: caller, remote: Remote{api: api}, buyers: plan.Buyers, holds: holds}, nil
}

func (t *target) close() { t.http.CloseIdleConnections() }

// open puts the load's products on sale.
func (t *target) open(ctx context.Context, plan LoadPlan, name string) error {
	for i := range plan.Products {
		id, err := t.createProduct(ctx, fmt.Sprintf("%s-%d", name, i+1), plan)
		if err != nil {
			return fmt.Errorf("making product %d of %d: %w", i+1, plan.Products, err)
		}
		t.products = append(t.products, id)
	}
	return nil
}

func (t *target) createProduct(ctx context.Context, sku string, plan LoadPlan) (sale.ProductID, error) {
	lasts := int64(math.Ceil((plan.Duration + HoldMargin).Seconds()))
	made, err := t.remote.api.CreateProductWithResponse(ctx, &client.CreateProductParams{IdempotencyKey: &sku},
		client.CreateProductRequest{
			SKU: sku, Name: productName, Stock: plan.Stock, HoldTTLSeconds: &lasts,
			Price: client.Price{Amount: productPrice, Currency: productCurrency},
		})
	if err != nil {
		return sale.ProductID{}, err
	}
	if made.JSON201 == nil {
		return sale.ProductID{}, problemError(made.HTTPResponse, made.ApplicationProblemJSONDefault)
	}
	return sale.ParseProductID(made.JSON201.ID)
}

// answer is what came of one request.
type answer struct {
	product int
	verdict verdict
	label   string // the code of a refusal or a 503, else the status
	// undecided says that the request may have had its effect.
	undecided bool
	err       error // of the transport
	// lag is how late the request was sent, latency the time from when it was to
	// be sent until all of its answer was there.
	lag, latency time.Duration
}

// verdict is the kind of an answer.
type verdict int

const (
	accepted    verdict = iota // 201
	refused                    // 4xx with a code of the contract
	unavailable                // 503
	broken                     // no answer
	other                      // anything else
)

// fire sends request n: products take turns, and so do customers.
func (t *target) fire(ctx context.Context, n int64) answer {
	products := int64(len(t.products))
	at := int(n % products)
	result := answer{product: at}
	request, sentAgain := t.request(ctx, t.products[at], n%t.buyers)
	response, err := t.http.Do(request)
	if err != nil {
		result.verdict = broken
		result.undecided, result.err = transportFailure(err)
	} else {
		// What cannot be read of an answer does not change what its status says.
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		_ = response.Body.Close()
		result.verdict, result.label, result.undecided = judgeAnswer(response.StatusCode, body)
	}
	// What became of the second sending says nothing of the first, but for success.
	result.undecided = result.undecided || *sentAgain && result.verdict != accepted
	return result
}

// request has a key of its own, which is also the id that the hold is to get, as
// a careful client sends it. The transport may send a keyed request again when its connection
// was closed under it, and sentAgain tells so.
func (t *target) request(ctx context.Context, product sale.ProductID, customer int64) (request *http.Request, sentAgain *bool) {
	body := fmt.Appendf(nil, `{"customer_id":"load-%d","lines":[{"product_id":%q,"quantity":%d}]}`,
		customer+1, product.String(), holdQuantity)
	request, sentAgain = t.holds.WithContext(ctx), new(bool)
	request.Header = http.Header{
		"Content-Type":    t.holds.Header["Content-Type"],
		"Idempotency-Key": {sale.NewHoldID(product).String()},
	}
	request.ContentLength = int64(len(body))
	request.GetBody = func() (io.ReadCloser, error) {
		*sentAgain = true
		return io.NopCloser(bytes.NewReader(body)), nil
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	return request, sentAgain
}

// transportFailure is the cause alone, without addresses, so that equal ones are
// equal. undecided is false where no connection was made.
func transportFailure(err error) (undecided bool, cause error) {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if operation, ok := errors.AsType[*net.OpError](err); ok {
		return operation.Op != "dial", fmt.Errorf("%s: %w", operation.Op, operation.Err)
	}
	return true, err
}

// judgeAnswer sorts an answer. undecided is false where the contract says that
// nothing was done.
func judgeAnswer(status int, body []byte) (kind verdict, label string, undecided bool) {
	if status == http.StatusCreated {
		return accepted, "", false
	}
	code := codeOf(body)
	clients := status >= http.StatusBadRequest && status < http.StatusInternalServerError
	switch {
	case status == http.StatusServiceUnavailable && code == "":
		return unavailable, "no code", true
	case status == http.StatusServiceUnavailable:
		nothing := []client.ProblemCode{client.ProblemCodeUnavailable, client.ProblemCodeOverloaded}
		return unavailable, string(code), !slices.Contains(nothing, code)
	case clients && code != "":
		return refused, string(code), code == client.ProblemCodeIdempotencyInProgress
	default:
		return other, strconv.Itoa(status), !clients
	}
}

// codeOf is the problem's code, "" when it is none of the contract's: so labels
// are few whatever a server answers.
func codeOf(body []byte) client.ProblemCode {
	var problem struct {
		Code client.ProblemCode `json:"code"`
	}
	if err := json.Unmarshal(body, &problem); err != nil || !problem.Code.Valid() {
		return ""
	}
	return problem.Code
}
