package sdk

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	headerKey = "Idempotency-Key"
	holdsPath = "/api/holds"
)

// HoldKey makes a new idempotency key for a hold on these products, in any order. It
// becomes the hold's id, so the service needs no other record of it: the fastest key
// that there is. The error is for no product or a malformed id. A client of New makes such
// keys by itself; make your own to keep it with your order before you ask, so that after
// a crash you ask again with the same.
func HoldKey(products ...client.ProductID) (client.IdempotencyKey, error) {
	if len(products) == 0 {
		return "", fmt.Errorf("a hold key needs a product: %w", sale.ErrMalformedID)
	}
	var home sale.ProductID
	for i, product := range products {
		id, err := sale.ParseProductID(product)
		if err != nil {
			return "", fmt.Errorf("product %d of a hold key: %w", i, err)
		}
		if i == 0 || id.Compare(home) < 0 {
			home = id
		}
	}
	return sale.NewHoldID(home).String(), nil
}

// keyFor makes the key of a request that has none: a hold's own where its body can be
// read, else any.
func keyFor(req *http.Request) client.IdempotencyKey {
	if strings.HasSuffix(req.URL.Path, holdsPath) && req.GetBody != nil {
		if key, err := HoldKey(productsOf(req)...); err == nil {
			return key
		}
	}
	return rand.Text()
}

// productsOf are those that a hold's request asks for, none when it cannot be read: the
// service says what is wrong with it.
func productsOf(req *http.Request) []client.ProductID {
	body, err := req.GetBody()
	if err != nil {
		return nil
	}
	defer func() { _ = body.Close() }()
	var request client.CreateHoldRequest
	if json.NewDecoder(body).Decode(&request) != nil {
		return nil
	}
	products := make([]client.ProductID, len(request.Lines))
	for i, line := range request.Lines {
		products[i] = line.ProductID
	}
	return products
}
