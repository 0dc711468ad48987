package sale

// Provider is a sender of payment events. Event and payment ids are unique for
// one provider only.
type Provider string

// The providers whose signatures are understood.
const (
	ProviderStandard Provider = "standard" // Standard Webhooks
	ProviderStripe   Provider = "stripe"
)

// PaymentKind is what a payment event says.
type PaymentKind string

// The kinds of payment events. Events of any other kind are PaymentOther.
const (
	PaymentSucceeded PaymentKind = "succeeded"
	PaymentFailed    PaymentKind = "failed"
	PaymentRefunded  PaymentKind = "refunded"
	PaymentOther     PaymentKind = "other"
)

// PaymentEvent is what a provider said, once. Its signature was verified. Only
// Provider, ID and Kind are set when Kind is PaymentOther.
type PaymentEvent struct {
	Provider  Provider
	ID        string
	Kind      PaymentKind
	OrderID   OrderID
	PaymentID string
	Amount    Money // paid, asked for or given back
}

// PaymentOutcome is what an event came to.
type PaymentOutcome string

// The outcomes of a payment event.
const (
	OutcomePaid           PaymentOutcome = "paid"
	OutcomePaymentFailed  PaymentOutcome = "payment_failed"
	OutcomeRebooked       PaymentOutcome = "rebooked"
	OutcomeRefundDue      PaymentOutcome = "refund_due"
	OutcomeRefundDueExtra PaymentOutcome = "refund_due_extra"
	OutcomeRefunded       PaymentOutcome = "refunded"
	OutcomeDuplicate      PaymentOutcome = "duplicate"
	OutcomeIgnored        PaymentOutcome = "ignored"
	OutcomeMismatch       PaymentOutcome = "mismatch"
)

// LatePayment says what becomes of money that comes after its order's units
// went back.
type LatePayment string

// The policies for late payments.
const (
	LatePaymentRebook LatePayment = "rebook" // take the units again where that is possible
	LatePaymentRefund LatePayment = "refund" // always give the money back
)

// PaymentState is what is known of one payment.
type PaymentState string

// The states of a payment.
const (
	PaymentOwns      PaymentState = "owns"       // its order stands on it
	PaymentRefundDue PaymentState = "refund_due" // it has to go back
	PaymentReturned  PaymentState = "refunded"   // it went back
)

// Facts are what is known when an event arrives.
type Facts struct {
	Status  OrderStatus  // the order's, when the event arrived
	Total   Money        // of the order
	Payment PaymentState // this very payment's, "" when it was not heard of
	Owns    bool         // the order stands on this payment
	Policy  LatePayment
}

// Decide says what an event that was not seen before does to an order that exists.
func Decide(event PaymentEvent, facts Facts) Transition {
	if event.Kind == PaymentOther {
		return Transition{Outcome: OutcomeIgnored}
	}
	next := Next(facts.Status, event.trigger(facts))
	if next.Step == StepRebook && facts.Policy == LatePaymentRefund {
		return TooLate(RefundLate)
	}
	return next
}

// trigger tells the cases of an event apart. What is known already comes before a
// mismatch: it has no effect in any amount.
func (e PaymentEvent) trigger(facts Facts) Trigger {
	matches := e.Amount == facts.Total
	switch e.Kind {
	case PaymentSucceeded:
		return successTrigger(facts, matches)
	case PaymentRefunded:
		return returnTrigger(facts, matches)
	case PaymentFailed, PaymentOther:
	}
	if !matches && facts.Status == OrderPendingPayment {
		return TriggerMismatch
	}
	return TriggerFailure
}

func successTrigger(facts Facts, matches bool) Trigger {
	switch {
	case facts.Payment == PaymentReturned:
		return TriggerSuccessVoid
	case facts.Payment != "":
		return TriggerSuccessAgain
	case !matches:
		return TriggerMismatch
	default:
		return TriggerSuccess
	}
}

func returnTrigger(facts Facts, matches bool) Trigger {
	switch {
	case facts.Payment == PaymentReturned:
		return TriggerReturnAgain
	case !matches:
		return TriggerMismatch
	case facts.Payment == "":
		return TriggerReturnEarly
	case facts.Owns:
		return TriggerReturn
	default:
		return TriggerReturnExtra
	}
}
