package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// The terms of the demo's products.
const (
	hotStock       = 10
	hotPrice       = 9900
	limitedStock   = 100
	limitedPrice   = 4900
	limitedUnits   = 2 // a customer's
	presaleStock   = 50
	presalePrice   = 14900
	presaleStart   = 24 * time.Hour // from now
	freeStock      = 25
	singlePrice    = 19900
	patientTTL     = 15 * time.Minute // time to read between two curl lines
	longestTTL     = 24 * time.Hour
	dollars        = "USD"
	euros          = "EUR"
	demoCustomer   = "demo"
	firstPlayer    = "alice"
	secondPlayer   = "bob"
	thirdPlayer    = "carol"
	limitedHoarder = "dave"
	endpointURL    = "https://events.example.invalid/flashsale" // a name that nobody can have
)

// Scene is the products that the demo made.
type Scene struct {
	Hot     sale.Product // ten units, all available
	Presale sale.Product // its sale starts tomorrow, in euros
	Limited sale.Product // two units for each customer
	Free    sale.Product // costs nothing, so an order is paid at once
	Held    sale.Product // its only unit is in a hold for a day
	Gone    sale.Product // its only unit is sold

	Endpoint sale.Endpoint // is told of money that is not an order's, of which the demo has none
}

// Seed makes the products, and the hold and the paid order that two of them
// need, through the same actions as the API.
func Seed(ctx context.Context, actions *action.Actions, now time.Time) (Scene, error) {
	s := &seeder{actions: actions}
	start, limit := now.Add(presaleStart).UTC().Truncate(time.Second), int64(limitedUnits)
	scene := Scene{
		Hot: s.product(ctx, "TICKET-1", "Front row ticket", hotStock,
			sale.Rules{Price: sale.Money{Amount: hotPrice, Currency: dollars}, HoldTTL: patientTTL, PaymentWindow: patientTTL}),
		Presale: s.product(ctx, "PRESALE-1", "Record, on sale from tomorrow", presaleStock,
			sale.Rules{Price: sale.Money{Amount: presalePrice, Currency: euros}, SaleStartsAt: &start}),
		Limited: s.product(ctx, "LIMITED-1", "Poster, two for each customer", limitedStock,
			sale.Rules{Price: sale.Money{Amount: limitedPrice, Currency: dollars}, PerCustomerLimit: &limit, HoldTTL: patientTTL}),
		Free: s.product(ctx, "FREE-1", "Sticker, free of charge", freeStock,
			sale.Rules{Price: sale.Money{Currency: dollars}, HoldTTL: patientTTL}),
		Held: s.product(ctx, "HELD-1", "Signed guitar, in a hold", 1,
			sale.Rules{Price: sale.Money{Amount: singlePrice, Currency: dollars}, HoldTTL: longestTTL}),
		Gone: s.product(ctx, "GONE-1", "Signed drum, sold", 1,
			sale.Rules{Price: sale.Money{Amount: singlePrice, Currency: dollars}}),
	}
	scene.Endpoint = s.endpoint(ctx)
	s.hold(ctx, scene.Held.ID)
	s.pay(ctx, s.order(ctx, s.hold(ctx, scene.Gone.ID)))
	return scene, s.err
}

// seeder does one thing after the other until one fails.
type seeder struct {
	actions *action.Actions
	err     error
}

func (s *seeder) product(ctx context.Context, sku, name string, stock int64, rules sale.Rules) sale.Product {
	if s.err != nil {
		return sale.Product{}
	}
	made, err := s.actions.CreateProduct.Do(ctx, action.CreateProductInput{SKU: sku, Name: name, Stock: stock, Rules: rules})
	if err != nil {
		s.err = fmt.Errorf("making the product %s: %w", sku, err)
	}
	return made.Value
}

func (s *seeder) endpoint(ctx context.Context) sale.Endpoint {
	if s.err != nil {
		return sale.Endpoint{}
	}
	made, err := s.actions.CreateEndpoint.Do(ctx, action.CreateEndpointInput{
		URL: endpointURL, Types: []sale.EventType{sale.EventPaymentMismatch},
	})
	if err != nil {
		s.err = fmt.Errorf("making a webhook endpoint: %w", err)
	}
	return made.Value.Endpoint
}

func (s *seeder) hold(ctx context.Context, product sale.ProductID) sale.HoldID {
	if s.err != nil {
		return sale.HoldID{}
	}
	held, err := s.actions.CreateHold.Do(ctx, action.CreateHoldInput{
		CustomerID: demoCustomer,
		Lines:      []sale.LineRequest{{ProductID: product, Quantity: 1}},
	})
	if err != nil {
		s.err = fmt.Errorf("holding one of %s: %w", product, err)
	}
	return held.Value.ID
}

func (s *seeder) order(ctx context.Context, hold sale.HoldID) action.OrderView {
	if s.err != nil {
		return action.OrderView{}
	}
	ordered, err := s.actions.CreateOrder.Do(ctx, action.CreateOrderInput{HoldID: hold})
	if err != nil {
		s.err = fmt.Errorf("ordering %s: %w", hold, err)
	}
	return ordered.Value
}

func (s *seeder) pay(ctx context.Context, order action.OrderView) {
	if s.err != nil {
		return
	}
	paid, err := s.actions.ProcessPayment.Do(ctx, sale.PaymentEvent{
		Provider:  sale.ProviderStandard,
		ID:        sale.NewEventID().String(),
		Kind:      sale.PaymentSucceeded,
		OrderID:   order.ID,
		PaymentID: paymentOf(order.ID),
		Amount:    order.Total,
	})
	switch {
	case err != nil:
		s.err = fmt.Errorf("paying %s: %w", order.ID, err)
	case paid.Outcome != sale.OutcomePaid:
		s.err = fmt.Errorf("paying %s came to %q", order.ID, paid.Outcome)
	}
}
