// Package action holds the use cases, one a file: stateless, with one public
// method each, and no HTTP in them.
package action

import (
	"context"
	"log/slog"
	"time"

	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// Cache keeps products in front of MySQL. It can fail without harm: every
// method answers in bounded time, whatever Redis does.
type Cache interface {
	// Get answers from the cache, or from load, which it runs once for all who
	// wait for the same product. The bool says whether the cache had it. The
	// error is load's.
	Get(ctx context.Context, id sale.ProductID, load func(context.Context) (sale.Product, error)) (sale.Product, bool, error)
	// Newest gives the newest state of a product that was seen, which may be old. It asks
	// nobody.
	Newest(id sale.ProductID) (sale.Product, bool)
	// Put makes committed states visible to this process at once and to the
	// others soon. An older version never replaces a newer one.
	Put(ctx context.Context, products ...sale.Product)
}

// Meter counts what happened, for operators.
type Meter interface {
	HoldCreated(units int64)
	HoldRejected(code sale.Code)
	PaymentReceived(outcome sale.PaymentOutcome)
	StockRestored(reason sale.ReturnReason, lines, units int64)
	DeliveryAttempted(result sale.AttemptResult)
	EndpointsSurveyed(pending int64, oldest time.Duration, disabled int64)
	// Lane is the meter of the lanes of one kind of request.
	Lane(kind string) lane.Meter
	// Gate is the meter of the gates of one kind of request.
	Gate(kind string) lane.QueueMeter
}

// The kinds of requests that have lanes.
const (
	LaneHolds    = "holds"
	LaneOrders   = "orders"
	LanePayments = "payments"
	LaneLooks    = "looks" // of holds of several products, before they are refused
)

// The kinds of requests that pass gates.
const (
	GateProducts = "products" // what takes products' rows and is in no batch
	GateOrders   = "orders"   // orders that are in no batch
	GatePayments = "payments" // payments in time that are in no batch
	GateLists    = "lists"    // lists of orders of one status
)

// Sender sends events to endpoints. It has no part in any transaction.
type Sender interface {
	// CheckURL says, in words for who asked, why events may not be sent to a URL.
	CheckURL(url string) error
	// Send makes one attempt, of bounded time.
	Send(ctx context.Context, message sale.Message) sale.Answer
}

// Kit is what actions work with.
type Kit struct {
	DB          *mysql.DB
	Cache       Cache
	Meter       Meter
	Sender      Sender // nil where no endpoint is made and nothing delivered
	Log         *slog.Logger
	LatePayment sale.LatePayment
	// Coalesce merges holds that wait for one product into one transaction, and so orders,
	// and payments.
	Coalesce bool
}

// Actions are all use cases, wired with one kit.
type Actions struct {
	// Budget is how long a request may begin things: with it the answer comes within
	// five timeouts of an operation.
	Budget time.Duration

	CreateProduct  *CreateProduct
	GetProduct     *GetProduct
	ListProducts   *ListProducts
	UpdateProduct  *UpdateProduct
	AdjustStock    *AdjustStock
	CreateHold     *CreateHold
	GetHold        *GetHold
	ReleaseHold    *ReleaseHold
	ExtendHold     *ExtendHold
	CreateOrder    *CreateOrder
	GetOrder       *GetOrder
	ListOrders     *ListOrders
	CancelOrder    *CancelOrder
	RefundOrder    *RefundOrder
	ProcessPayment *ProcessPayment
	ReleaseExpired *ReleaseExpired
	Audit          *Audit
	AuditProduct   *AuditProduct
	AuditChanged   *AuditChanged
	RepairBooks    *RepairBooks
	ListMovements  *ListMovements
	Purge          *Purge

	CreateEndpoint  *CreateEndpoint
	GetEndpoint     *GetEndpoint
	ListEndpoints   *ListEndpoints
	DeleteEndpoint  *DeleteEndpoint
	RotateSecret    *RotateSecret
	SurveyEndpoints *SurveyEndpoints
	PurgeEndpoints  *PurgeEndpoints
	TellStock       *TellStock
	FanOutEvents    *FanOutEvents
	DueEndpoints    *DueEndpoints
	ClaimDeliveries *ClaimDeliveries
	SendDelivery    *SendDelivery
	RecordAttempts  *RecordAttempts
	Redeliver       *Redeliver
}

// New wires all actions. They share what orders the work on a product within
// this process, so one process makes them once.
func New(kit Kit) *Actions {
	d := newDesk(kit)
	turns := newTurns()
	return &Actions{
		Budget: d.patience(toBegin),

		CreateProduct:  &CreateProduct{d},
		GetProduct:     &GetProduct{d},
		ListProducts:   &ListProducts{d},
		UpdateProduct:  &UpdateProduct{d},
		AdjustStock:    &AdjustStock{d},
		CreateHold:     newCreateHold(d),
		GetHold:        &GetHold{d},
		ReleaseHold:    &ReleaseHold{d},
		ExtendHold:     &ExtendHold{d},
		CreateOrder:    newCreateOrder(d),
		GetOrder:       &GetOrder{d},
		ListOrders:     newListOrders(d),
		CancelOrder:    &CancelOrder{d},
		RefundOrder:    &RefundOrder{d},
		ProcessPayment: newProcessPayment(d),
		ReleaseExpired: &ReleaseExpired{d},
		Audit:          &Audit{d},
		AuditProduct:   &AuditProduct{d},
		AuditChanged:   &AuditChanged{d},
		RepairBooks:    &RepairBooks{d},
		ListMovements:  &ListMovements{d},
		Purge:          &Purge{d},

		CreateEndpoint:  &CreateEndpoint{d},
		GetEndpoint:     &GetEndpoint{d},
		ListEndpoints:   &ListEndpoints{d},
		DeleteEndpoint:  &DeleteEndpoint{d},
		RotateSecret:    &RotateSecret{d},
		SurveyEndpoints: &SurveyEndpoints{d},
		PurgeEndpoints:  &PurgeEndpoints{d},
		TellStock:       &TellStock{d},
		FanOutEvents:    &FanOutEvents{d},
		DueEndpoints:    &DueEndpoints{d},
		ClaimDeliveries: &ClaimDeliveries{d, turns},
		SendDelivery:    &SendDelivery{d},
		RecordAttempts:  &RecordAttempts{d, turns},
		Redeliver:       &Redeliver{d},
	}
}

// Result is what a repeatable operation came to. Replayed says that an earlier
// request with the same key had this effect.
type Result[T any] struct {
	Value    T
	Replayed bool
}

// HoldView is a hold and its status by the database's clock at the answer.
type HoldView struct {
	sale.Hold
	Status sale.HoldStatus
}

// OrderView is an order and its status by the database's clock at the answer.
type OrderView struct {
	sale.Order
	Status sale.OrderStatus
}

// ProductRead is a product and whether the cache had it.
type ProductRead struct {
	Product sale.Product
	Hit     bool
}

// ProductPage is a page of products. Next is the last one's id when there are more.
type ProductPage struct {
	Products []sale.Product
	Next     *sale.ProductID
}

// CreateProductInput is a new product's terms and its first stock.
type CreateProductInput struct {
	Key   string // Idempotency-Key, "" without one
	SKU   string
	Name  string
	Stock int64
	Rules sale.Rules // zero HoldTTL and PaymentWindow: the defaults
}

// Change is one member of a patch: absent, set to a value or taken away.
type Change[T any] struct {
	Given bool
	Value *T // nil: taken away
}

// ProductPatch is a JSON merge patch in the domain's words. Nil: unchanged.
type ProductPatch struct {
	Name             *string
	Price            *sale.Money
	HoldTTL          *time.Duration
	PaymentWindow    *time.Duration
	SaleStartsAt     Change[time.Time]
	SaleEndsAt       Change[time.Time]
	PerCustomerLimit Change[int64]
}

// AdjustStockInput adds Delta units to a product's stock, or takes them away.
type AdjustStockInput struct {
	Key       string
	ProductID sale.ProductID
	Delta     int64
	Reason    string
}

// CreateHoldInput is a customer's wish.
type CreateHoldInput struct {
	Key        string
	CustomerID string
	Lines      []sale.LineRequest
}

// ReleaseHoldInput names the hold to give back.
type ReleaseHoldInput struct {
	Key    string
	HoldID sale.HoldID
}

// ExtendHoldInput asks for more time.
type ExtendHoldInput struct {
	Key    string
	HoldID sale.HoldID
	By     time.Duration // whole seconds, at least one
}

// CreateOrderInput names the hold to order.
type CreateOrderInput struct {
	Key    string
	HoldID sale.HoldID
}

// PaymentResult is what a payment event came to. OrderStatus is "" when the
// event spoke of no order.
type PaymentResult struct {
	Outcome     sale.PaymentOutcome
	OrderStatus sale.OrderStatus
}

// Released is what one sweep gave back.
type Released struct {
	Holds         int64 // lines of holds
	Orders        int64 // lines of orders
	StockRestored int64 // units
}
