package sale_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// Where each trigger leads from each status, in the order of sale.OrderStatuses; "" is
// where it is, "!" a refusal.
var leads = map[sale.Trigger][]string{
	sale.TriggerSuccess:       {"paid", "", "paid|refund_due", "refund_due", "paid|refund_due", "", ""},
	sale.TriggerSuccessAgain:  {"", "", "", "", "", "", ""},
	sale.TriggerSuccessVoid:   {"", "", "", "", "", "", ""},
	sale.TriggerFailure:       {"payment_failed", "", "", "", "", "", ""},
	sale.TriggerReturn:        {"", "refunded", "", "", "", "refunded", ""},
	sale.TriggerReturnExtra:   {"", "", "", "", "", "", ""},
	sale.TriggerReturnAgain:   {"", "", "", "", "", "", ""},
	sale.TriggerReturnEarly:   {"", "", "", "", "", "", ""},
	sale.TriggerMismatch:      {"", "", "", "", "", "", ""},
	sale.TriggerCancel:        {"cancelled", "!", "cancelled", "", "cancelled", "!", "!"},
	sale.TriggerRefund:        {"!", "refund_due", "!", "!", "!", "", "!"},
	sale.TriggerRefundNothing: {"!", "refunded", "!", "!", "!", "", "!"},
	sale.TriggerExpiry:        {"expired", "", "", "", "", "", ""},
}

func TestEveryPairOfStatusAndTriggerLeadsWhereTheTableSays(t *testing.T) {
	t.Parallel()
	assert.Len(t, leads, len(sale.Triggers()))
	for _, trigger := range sale.Triggers() {
		for i, status := range sale.OrderStatuses() {
			next := sale.Next(status, trigger)
			to := string(next.To)
			switch {
			case next.Refusal != "":
				to = "!"
			case next.Else != "":
				to += "|" + string(next.Else)
			}
			assert.Equal(t, leads[trigger][i], to, "%s of an order that is %s", trigger, status)
		}
	}
}

func TestAnOrderChangesOnlyWithAStepAndTheWorldIsTold(t *testing.T) {
	t.Parallel()
	for _, trigger := range sale.Triggers() {
		for _, status := range sale.OrderStatuses() {
			next := sale.Next(status, trigger)
			if next.To == "" {
				continue
			}
			assert.NotEqual(t, status, next.To, "%s %s", trigger, status)
			assert.NotEqual(t, sale.StepNone, next.Step, "%s %s", trigger, status)
			assert.NotEmpty(t, next.Tells, "%s %s", trigger, status)
			assert.Empty(t, next.Refusal, "%s %s", trigger, status)
		}
	}
}

// walk follows every way through the machine and shows each step of it.
func walk(status sale.OrderStatus, way []sale.EventType, show func(way []sale.EventType)) {
	for _, trigger := range sale.Triggers() {
		next := sale.Next(status, trigger)
		if next.To == "" {
			continue
		}
		follow := func(to sale.OrderStatus, tells sale.EventType) {
			further := append(slices.Clone(way), tells)
			show(further)
			walk(to, further, show)
		}
		follow(next.To, next.Tells)
		if next.Else != "" {
			follow(next.Else, sale.TooLate(sale.RefundUnitsGone).Tells)
		}
	}
}

func TestOnEveryWayThroughTheMachineEachEventComesOnceAndInSequence(t *testing.T) {
	t.Parallel()
	ways := 0
	check := func(way []sale.EventType) {
		ways++
		for i := 1; i < len(way); i++ {
			assert.Greater(t, way[i].Sequence(), way[i-1].Sequence(), "%v", way)
		}
	}
	walk(sale.OrderPendingPayment, []sale.EventType{sale.EventOrderCreated}, check)
	walk(sale.OrderPaid, []sale.EventType{sale.EventOrderCreated, sale.EventOrderPaid}, check)
	assert.Greater(t, ways, 20)
}

func TestEventIDsAreMadeOfWhatTheyTell(t *testing.T) {
	t.Parallel()
	order, other := sale.OrderOf(sale.NewHoldID(sale.NewProductID())), sale.OrderOf(sale.NewHoldID(sale.NewProductID()))
	paid := sale.OrderEventID(sale.EventOrderPaid, order)
	assert.Equal(t, paid, sale.OrderEventID(sale.EventOrderPaid, order))
	ids := map[sale.EventID]bool{
		paid: true,
		sale.OrderEventID(sale.EventOrderPaid, other):                                      true,
		sale.OrderEventID(sale.EventOrderCreated, order):                                   true,
		sale.PaymentEventID(sale.EventPaymentMismatch, order, sale.ProviderStripe, "a"):    true,
		sale.PaymentEventID(sale.EventPaymentMismatch, order, sale.ProviderStandard, "a"):  true,
		sale.PaymentEventID(sale.EventPaymentRefundDue, order, sale.ProviderStandard, "a"): true,
		sale.PaymentEventID(sale.EventPaymentRefundDue, order, sale.ProviderStandard, "b"): true,
		sale.PaymentEventID(sale.EventPaymentRefundDue, other, sale.ProviderStandard, "b"): true,
	}
	assert.Len(t, ids, 8)
	assert.Equal(t, order[:6], paid[:6], "it lies beside the events of its order's time")
}
