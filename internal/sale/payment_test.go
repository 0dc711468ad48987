package sale_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// decision is one cell of the table: what is done, said and owed.
type decision struct {
	step    sale.Step
	outcome sale.PaymentOutcome
	reason  sale.RefundReason
}

func decided(next sale.Transition) decision { return decision{next.Step, next.Outcome, next.Reason} }

var (
	pay       = decision{sale.StepPay, sale.OutcomePaid, ""}
	rebook    = decision{sale.StepRebook, sale.OutcomeRebooked, ""}
	fail      = decision{sale.StepFail, sale.OutcomePaymentFailed, ""}
	late      = decision{sale.StepRefundDue, sale.OutcomeRefundDue, sale.RefundLate}
	cancelled = decision{sale.StepRefundDue, sale.OutcomeRefundDue, sale.RefundCancelled}
	extra     = decision{sale.StepExtra, sale.OutcomeRefundDueExtra, sale.RefundExtraPayment}
	refund    = decision{sale.StepRefund, sale.OutcomeRefunded, ""}
	other     = decision{sale.StepRefundExtra, sale.OutcomeRefunded, ""}
	remember  = decision{sale.StepRemember, sale.OutcomeRefunded, ""}
	ignored   = decision{sale.StepNone, sale.OutcomeIgnored, ""}
	duplicate = decision{sale.StepNone, sale.OutcomeDuplicate, ""}
	mismatch  = decision{sale.StepReport, sale.OutcomeMismatch, ""}
)

type known struct {
	payment sale.PaymentState
	owns    bool
}

var (
	unheard = known{}
	owner   = known{sale.PaymentOwns, true}
	owed    = known{sale.PaymentRefundDue, true}
	owedToo = known{sale.PaymentRefundDue, false}
	gone    = known{sale.PaymentReturned, true}
	goneToo = known{sale.PaymentReturned, false}
)

// table is every kind of event with every state of its payment: one decision for
// each of sale.OrderStatuses, of an event with the order's own amount.
var table = map[sale.PaymentKind]map[known][]decision{
	sale.PaymentSucceeded: {
		unheard: {pay, extra, rebook, cancelled, rebook, extra, extra},
		owner:   {duplicate, duplicate, duplicate, duplicate, duplicate, duplicate, duplicate},
		owed:    {duplicate, duplicate, duplicate, duplicate, duplicate, duplicate, duplicate},
		owedToo: {duplicate, duplicate, duplicate, duplicate, duplicate, duplicate, duplicate},
		gone:    {ignored, duplicate, ignored, ignored, ignored, duplicate, duplicate},
		goneToo: {ignored, duplicate, ignored, ignored, ignored, duplicate, duplicate},
	},
	sale.PaymentFailed: {
		unheard: {fail, ignored, ignored, ignored, ignored, ignored, ignored},
		owner:   {fail, ignored, ignored, ignored, ignored, ignored, ignored},
		owed:    {fail, ignored, ignored, ignored, ignored, ignored, ignored},
		owedToo: {fail, ignored, ignored, ignored, ignored, ignored, ignored},
		gone:    {fail, ignored, ignored, ignored, ignored, ignored, ignored},
		goneToo: {fail, ignored, ignored, ignored, ignored, ignored, ignored},
	},
	sale.PaymentRefunded: {
		unheard: {remember, remember, remember, remember, remember, remember, remember},
		owner:   {ignored, refund, ignored, ignored, ignored, refund, duplicate},
		owed:    {ignored, refund, ignored, ignored, ignored, refund, duplicate},
		owedToo: {other, other, other, other, other, other, other},
		gone:    {duplicate, duplicate, duplicate, duplicate, duplicate, duplicate, duplicate},
		goneToo: {duplicate, duplicate, duplicate, duplicate, duplicate, duplicate, duplicate},
	},
	sale.PaymentOther: {
		unheard: {ignored, ignored, ignored, ignored, ignored, ignored, ignored},
	},
}

func eachCell(do func(kind sale.PaymentKind, k known, status sale.OrderStatus, want decision)) {
	for kind, rows := range table {
		for k, row := range rows {
			for i, want := range row {
				do(kind, k, sale.OrderStatuses()[i], want)
			}
		}
	}
}

var total = sale.Money{Amount: 3000, Currency: "USD"}

func TestEveryEventInEveryStatusIsDecidedAsTheTableSays(t *testing.T) {
	t.Parallel()
	eachCell(func(kind sale.PaymentKind, k known, status sale.OrderStatus, want decision) {
		got := sale.Decide(sale.PaymentEvent{Kind: kind, Amount: total},
			sale.Facts{Status: status, Total: total, Payment: k.payment, Owns: k.owns, Policy: sale.LatePaymentRebook})
		assert.Equal(t, want, decided(got), "%s, %+v, order %s", kind, k, status)
	})
}

func TestRefundPolicyChangesNothingButRebooks(t *testing.T) {
	t.Parallel()
	eachCell(func(kind sale.PaymentKind, k known, status sale.OrderStatus, want decision) {
		if want == rebook {
			want = late
		}
		got := sale.Decide(sale.PaymentEvent{Kind: kind, Amount: total},
			sale.Facts{Status: status, Total: total, Payment: k.payment, Owns: k.owns, Policy: sale.LatePaymentRefund})
		assert.Equal(t, want, decided(got), "%s, %+v, order %s", kind, k, status)
	})
}

func TestAnotherAmountOrCurrencyNeverHasAnEffect(t *testing.T) {
	t.Parallel()
	for _, wrong := range []sale.Money{{Amount: 2999, Currency: "USD"}, {Amount: 3001, Currency: "USD"}, {Amount: 3000, Currency: "EUR"}} {
		eachCell(func(kind sale.PaymentKind, k known, status sale.OrderStatus, want decision) {
			impossible := kind == sale.PaymentRefunded && k.owns && want.step == sale.StepNone && k.payment != sale.PaymentReturned
			if want.step != sale.StepNone || impossible {
				want = mismatch
			}
			got := sale.Decide(sale.PaymentEvent{Kind: kind, Amount: wrong},
				sale.Facts{Status: status, Total: total, Payment: k.payment, Owns: k.owns, Policy: sale.LatePaymentRebook})
			assert.Equal(t, want, decided(got), "%s of %+v, %+v, order %s", kind, wrong, k, status)
		})
	}
}
