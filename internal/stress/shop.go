package stress

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// The product that is fought for.
const (
	productName     = "Stress product"
	productPrice    = 100
	productCurrency = "USD"
	// httpTimeout is longer than a server lets a request take.
	httpTimeout = 30 * time.Second
)

// Shop is where products and holds are made.
type Shop interface {
	// Connect makes sure that what follows does not wait for a connection.
	Connect(ctx context.Context) error
	// CreateProduct puts units of a new product on sale.
	CreateProduct(ctx context.Context, sku string, stock int64) (sale.ProductID, error)
	// Hold asks for one unit, once. A refusal is a *sale.Error.
	Hold(ctx context.Context, key string, product sale.ProductID, customer string) error
	// Count audits what became of a product's units.
	Count(ctx context.Context, product sale.ProductID) (Count, error)
}

// Where a Count was made.
const (
	sourceSQL = "sql"
	sourceAPI = "api"
)

// Count is what became of a product's units, and by what it was counted.
type Count struct {
	Books  sale.Books
	Source string
}

// Direct is a Shop straight on MySQL.
type Direct struct {
	Actions *action.Actions
	Ping    func(context.Context) error
}

// Connect opens the connection.
func (d Direct) Connect(ctx context.Context) error {
	if err := d.Ping(ctx); err != nil {
		return fmt.Errorf("connecting to MySQL: %w", err)
	}
	return nil
}

// CreateProduct puts units of a new product on sale.
func (d Direct) CreateProduct(ctx context.Context, sku string, stock int64) (sale.ProductID, error) {
	price := sale.Money{Amount: productPrice, Currency: productCurrency}
	made, err := d.Actions.CreateProduct.Do(ctx, action.CreateProductInput{
		SKU: sku, Name: productName, Stock: stock, Rules: sale.Rules{Price: price},
	})
	if err != nil {
		return sale.ProductID{}, fmt.Errorf("making the product: %w", err)
	}
	return made.Value.ID, nil
}

// Hold asks for one unit, once.
func (d Direct) Hold(ctx context.Context, key string, product sale.ProductID, customer string) error {
	_, err := d.Actions.CreateHold.Do(ctx, action.CreateHoldInput{
		Key: key, CustomerID: customer, Lines: []sale.LineRequest{{ProductID: product, Quantity: 1}},
	})
	return err
}

// Count audits the product by SQL.
func (d Direct) Count(ctx context.Context, product sale.ProductID) (Count, error) {
	books, err := d.Actions.Audit.Do(ctx, product)
	if err != nil {
		return Count{}, fmt.Errorf("auditing the product: %w", err)
	}
	if len(books) != 1 {
		return Count{}, fmt.Errorf("auditing the product: got %d products", len(books))
	}
	return Count{Books: books[0], Source: sourceSQL}, nil
}

// Remote is a Shop behind a server.
type Remote struct{ api *client.ClientWithResponses }

// NewRemote makes the Shop of the server at base, such as http://localhost:8080.
func NewRemote(base string) (Remote, error) {
	api, err := client.NewClientWithResponses(base, client.WithHTTPClient(&http.Client{Timeout: httpTimeout}))
	if err != nil {
		return Remote{}, fmt.Errorf("making a client of %s: %w", base, err)
	}
	return Remote{api: api}, nil
}

// Connect opens the connection, which is kept.
func (r Remote) Connect(ctx context.Context) error {
	alive, err := r.api.GetLivenessWithResponse(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the server: %w", err)
	}
	if alive.JSON200 == nil {
		return fmt.Errorf("connecting to the server: %s", alive.HTTPResponse.Status)
	}
	return nil
}

// CreateProduct puts units of a new product on sale.
func (r Remote) CreateProduct(ctx context.Context, sku string, stock int64) (sale.ProductID, error) {
	made, err := r.api.CreateProductWithResponse(ctx, &client.CreateProductParams{IdempotencyKey: &sku},
		client.CreateProductRequest{
			SKU: sku, Name: productName, Stock: stock,
			Price: client.Price{Amount: productPrice, Currency: productCurrency},
		})
	if err != nil {
		return sale.ProductID{}, fmt.Errorf("making the product: %w", err)
	}
	if made.JSON201 == nil {
		return sale.ProductID{}, fmt.Errorf("making the product: %w",
			problemError(made.HTTPResponse, made.ApplicationProblemJSONDefault))
	}
	id, err := sale.ParseProductID(made.JSON201.ID)
	if err != nil {
		return sale.ProductID{}, fmt.Errorf("reading the product: %w", err)
	}
	return id, nil
}

// Hold asks for one unit, once.
func (r Remote) Hold(ctx context.Context, key string, product sale.ProductID, customer string) error {
	held, err := r.api.CreateHoldWithResponse(ctx, &client.CreateHoldParams{IdempotencyKey: &key},
		client.CreateHoldRequest{
			CustomerID: customer,
			Lines:      []client.HoldLineRequest{{ProductID: product.String(), Quantity: 1}},
		})
	if err != nil {
		return fmt.Errorf("holding a unit: %w", err)
	}
	if held.JSON201 == nil {
		return problemError(held.HTTPResponse, held.ApplicationProblemJSONDefault)
	}
	return nil
}

// Count asks the server to audit the product.
func (r Remote) Count(ctx context.Context, product sale.ProductID) (Count, error) {
	read, err := r.api.AuditProductWithResponse(ctx, product.String())
	if err != nil {
		return Count{}, fmt.Errorf("auditing the product: %w", err)
	}
	audit := read.JSON200
	if audit == nil {
		return Count{}, fmt.Errorf("auditing the product: %w", problemError(read.HTTPResponse, read.ApplicationProblemJSONDefault))
	}
	return Count{Source: sourceAPI, Books: sale.Books{
		ProductID: product, Available: audit.Available, Held: audit.Held, Pending: audit.Pending, Sold: audit.Sold,
		Total: audit.Total, LedgerAvailable: audit.LedgerAvailable,
	}}, nil
}

// problemError is a server's refusal in the domain's words.
func problemError(response *http.Response, problem *client.Problem) error {
	if problem == nil {
		return fmt.Errorf("the server answered %s", response.Status)
	}
	detail := problem.Title
	if problem.Detail != nil {
		detail = *problem.Detail
	}
	failure := sale.Fail(sale.Code(problem.Code), detail)
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		failure.RetryAfter = time.Duration(seconds) * time.Second
	}
	return failure
}

// passing says whether a failure is one after which the same request, under the
// same key, is to be sent again.
func passing(err error) (wait time.Duration, again bool) {
	var failure *sale.Error
	if !errors.As(err, &failure) {
		return 0, false
	}
	codes := []sale.Code{sale.CodeUnavailable, sale.CodeOverloaded, sale.CodeOutcomeUnknown, sale.CodeKeyInProgress}
	return failure.RetryAfter, slices.Contains(codes, failure.Code)
}
