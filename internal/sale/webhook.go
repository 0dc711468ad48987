package sale

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// EventStockChanged tells what is left of a product. It is derived from the product's
// row and coalesced: of several changes in a moment only the last is told.
const EventStockChanged EventType = "stock.changed"

// StockEventID is the id of the event that tells a version of a product's stock, the
// same whenever it is made.
func StockEventID(product ProductID, version int64) EventID {
	return eventID(OrderID(product), string(EventStockChanged), strconv.FormatInt(version, 10))
}

// EventTypes are all types that an endpoint can ask for.
func EventTypes() []EventType {
	return []EventType{
		EventOrderCreated, EventOrderPaymentFailed, EventOrderExpired, EventOrderPaid, EventOrderCancelled,
		EventOrderRefundDue, EventOrderRefunded, EventPaymentMismatch, EventPaymentRefundDue, EventStockChanged,
	}
}

const (
	// MaxEndpoints is how many endpoints there may be: each event is written once for
	// each of them.
	MaxEndpoints = 100
	// SecretOverlap is how long the secret before the present one still signs.
	SecretOverlap = 24 * time.Hour
	// DeadAfter is how long an endpoint may fail without any success before it is
	// disabled, and how long one event is tried.
	DeadAfter = 3 * 24 * time.Hour
	// AttemptTimeout bounds one attempt, from the name's lookup to the answer.
	AttemptTimeout = 10 * time.Second
	// AttemptLease is when an attempt that nobody recorded counts as lost. It leaves
	// room for the attempt and its record.
	AttemptLease = 3 * AttemptTimeout

	firstRetry  = 5 * time.Second
	maxRetry    = 12 * time.Hour
	retryFactor = 3
	retryJitter = 0.2 // of the wait, to both sides
)

// RetryWait is how long to rest after so many attempts, at least one, that failed in a
// row: three times as long each time, up to 12 hours, and up to a fifth more or less as
// chance, from 0 to 1, says.
func RetryWait(attempts int64, chance float64) time.Duration {
	wait := firstRetry
	for range attempts - 1 {
		if wait >= maxRetry {
			break
		}
		wait = min(retryFactor*wait, maxRetry)
	}
	return time.Duration(float64(wait) * (1 - retryJitter + 2*retryJitter*chance))
}

// Endpoint is where events are sent to, without its secrets.
type Endpoint struct {
	ID             EndpointID
	URL            string
	Types          []EventType // none: all
	CreatedAt      time.Time
	FailingSince   *time.Time // the first failure since the last success
	DisabledAt     *time.Time
	DisabledReason string
	PreviousUntil  *time.Time // when the previous secret's time is over, nil without one
}

// Wants says whether the endpoint asked for events of a type.
func (e Endpoint) Wants(name EventType) bool {
	return len(e.Types) == 0 || slices.Contains(e.Types, name)
}

// DeliveryState says how far an event is on its way to an endpoint.
type DeliveryState string

// The states of deliveries.
const (
	DeliveryPending   DeliveryState = "pending"
	DeliveryDelivered DeliveryState = "delivered"
	DeliveryGivenUp   DeliveryState = "given_up"
)

// AttemptResult says what an attempt made of its delivery.
type AttemptResult string

// The results of attempts.
const (
	AttemptDelivered AttemptResult = "delivered"
	AttemptFailed    AttemptResult = "failed"   // and will be made again
	AttemptGivenUp   AttemptResult = "given_up" // failed, and was the last one
)

// Message is an event as it is sent to one endpoint.
type Message struct {
	EventID EventID
	URL     string
	Secrets []string // the present one first
	Body    []byte
}

// Answer is what an attempt came to.
type Answer struct {
	Status  int    // 0 without an answer
	Failure string // why there is none, in a few words without anything secret
}

// Accepted says that the endpoint took the event: only a 2xx says so.
func (a Answer) Accepted() bool { return a.Status >= 200 && a.Status < 300 }

// Gone says that the endpoint wants no more events, ever.
func (a Answer) Gone() bool { return a.Status == http.StatusGone }

// String is the status or why there is none.
func (a Answer) String() string {
	if a.Status != 0 {
		return strconv.Itoa(a.Status)
	}
	return a.Failure
}
