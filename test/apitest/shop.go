package apitest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/sdk"
)

// Price is what a product of Product costs, unless its test says otherwise.
const Price = 2500

// Readers of one process hear of another's commit within readersKnow, on the busiest
// machine; a test looks again after lookAgain.
const (
	readersKnow = 10 * time.Second
	lookAgain   = 5 * time.Millisecond
)

// Reply is what all answers of the generated client have in common.
type Reply interface {
	StatusCode() int
	GetApplicationProblemJSONDefault() *client.Problem
}

// NewProduct describes a product with that much stock and a sku of its own.
func NewProduct(stock int64) client.CreateProductRequest {
	return client.CreateProductRequest{
		SKU: "sku-" + rand.Text(), Name: "Test product", Stock: stock, Price: client.Price{Amount: Price, Currency: "USD"},
	}
}

// Product puts a product on sale. Each change is made to its description first.
func (a *API) Product(tb testing.TB, stock int64, changes ...func(*client.CreateProductRequest)) client.Product {
	tb.Helper()
	request := NewProduct(stock)
	for _, change := range changes {
		change(&request)
	}
	reply, err := a.CreateProductWithResponse(tb.Context(), nil, request)
	require.NoError(tb, err)
	require.NotNil(tb, reply.JSON201, string(reply.Body))
	return *reply.JSON201
}

// Wish asks for so many units of each product, in that order.
func Wish(customer string, quantity int64, products ...client.Product) client.CreateHoldRequest {
	request := client.CreateHoldRequest{CustomerID: customer}
	for _, product := range products {
		request.Lines = append(request.Lines, client.HoldLineRequest{ProductID: product.ID, Quantity: quantity})
	}
	return request
}

// Hold holds so many units of each product.
func (a *API) Hold(tb testing.TB, quantity int64, products ...client.Product) client.Hold {
	tb.Helper()
	reply, err := a.CreateHoldWithResponse(tb.Context(), nil, Wish("customer-"+rand.Text(), quantity, products...))
	require.NoError(tb, err)
	require.NotNil(tb, reply.JSON201, string(reply.Body))
	return *reply.JSON201
}

// Order holds so many units of each product and orders them.
func (a *API) Order(tb testing.TB, quantity int64, products ...client.Product) client.Order {
	tb.Helper()
	hold := a.Hold(tb, quantity, products...)
	reply, err := a.CreateOrderWithResponse(tb.Context(), nil, client.CreateOrderRequest{HoldID: hold.ID})
	require.NoError(tb, err)
	require.NotNil(tb, reply.JSON201, string(reply.Body))
	return *reply.JSON201
}

// HoldKey is a key that becomes the id of a hold on these products.
func HoldKey(tb testing.TB, products ...client.Product) *string {
	tb.Helper()
	ids := make([]client.ProductID, len(products))
	for i, product := range products {
		ids[i] = product.ID
	}
	key, err := sdk.HoldKey(ids...)
	require.NoError(tb, err)
	return &key
}

// Stock reads what is left of a product.
func (a *API) Stock(tb testing.TB, product client.Product) int64 {
	tb.Helper()
	reply, err := a.GetProductWithResponse(tb.Context(), product.ID, nil)
	require.NoError(tb, err)
	require.NotNil(tb, reply.JSON200, string(reply.Body))
	return reply.JSON200.AvailableStock
}

// RequireStock waits until readers are told that so much is left of a product: they
// hear of another process's commit a moment after it.
func (a *API) RequireStock(ctx context.Context, t require.TestingT, product client.Product, want int64) {
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		reply, err := a.GetProductWithResponse(ctx, product.ID, nil)
		require.NoError(c, err)
		require.NotNil(c, reply.JSON200, string(reply.Body))
		require.Equal(c, want, reply.JSON200.AvailableStock)
	}, readersKnow, lookAgain)
}

// Books reads from SQL where every unit of every product is, and fails the test
// unless each of them is in exactly one place and the ledger agrees.
func (a *API) Books(tb testing.TB) map[client.ProductID]sale.Books {
	tb.Helper()
	all, err := a.Other.Actions.Audit.Do(tb.Context())
	require.NoError(tb, err)
	books := make(map[client.ProductID]sale.Books, len(all))
	for _, one := range all {
		assert.True(tb, one.Balanced(), "the books of a product do not balance: %+v", one)
		books[one.ProductID.String()] = one
	}
	return books
}

// Expire makes a hold or order overdue since a second. What comes at the very instant
// could count as in time: an event's arrival is known to a network's delay.
func (a *API) Expire(tb testing.TB, id client.HoldID) {
	tb.Helper()
	hold, err := sale.ParseHoldID(id)
	require.NoError(tb, err)
	for _, statement := range []string{
		"UPDATE hold_lines SET due_at = NOW(6) - INTERVAL 1 SECOND, expires_at = LEAST(expires_at, NOW(6) - INTERVAL 1 SECOND) WHERE id = ?",
		"UPDATE orders SET pay_by = NOW(6) - INTERVAL 1 SECOND WHERE id = ?",
	} {
		_, err := a.Other.DB.SQL().ExecContext(tb.Context(), statement, hold)
		require.NoError(tb, err)
	}
}

// Answer is one to a request that the generated client would not send.
type Answer struct {
	Status  int
	Header  http.Header
	Body    []byte
	Problem *client.Problem // of a failure that has a body
}

// StatusCode makes an Answer a Reply.
func (a *Answer) StatusCode() int { return a.Status }

// GetApplicationProblemJSONDefault makes an Answer a Reply.
func (a *Answer) GetApplicationProblemJSONDefault() *client.Problem { return a.Problem }

// Send sends any request: header holds names and values by turns.
func (a *API) Send(ctx context.Context, method, target, body string, header ...string) (*Answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, a.URL+target, strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	response, err := a.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("send a request: %w", err)
	}
	var content bytes.Buffer
	_, err = io.Copy(&content, response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, fmt.Errorf("read an answer: %w", err)
	}
	answer := &Answer{Status: response.StatusCode, Header: response.Header, Body: content.Bytes()}
	if answer.Status >= http.StatusBadRequest && content.Len() > 0 {
		if err := json.Unmarshal(answer.Body, &answer.Problem); err != nil {
			return nil, fmt.Errorf("read a problem: %w", err)
		}
	}
	return answer, nil
}

// Together runs act n times, all at once, and joins what failed.
func Together(n int, act func(i int) error) error {
	var start, running sync.WaitGroup
	start.Add(1)
	failures := make([]error, n)
	for i := range n {
		running.Go(func() {
			start.Wait()
			failures[i] = act(i)
		})
	}
	start.Done()
	running.Wait()
	return errors.Join(failures...)
}
