package sale

// Trigger is something that can happen to an order, told apart as far as it makes
// a difference.
type Trigger string

// The triggers. Payments are known when an earlier event spoke of them.
const (
	TriggerSuccess       Trigger = "success"        // money, of a payment not heard of before
	TriggerSuccessAgain  Trigger = "success_again"  // money that is known already
	TriggerSuccessVoid   Trigger = "success_void"   // money whose refund was told first
	TriggerFailure       Trigger = "failure"        // a payment failed
	TriggerReturn        Trigger = "return"         // the money that the order stands on went back
	TriggerReturnExtra   Trigger = "return_extra"   // money of another known payment went back
	TriggerReturnAgain   Trigger = "return_again"   // money of which that is known went back
	TriggerReturnEarly   Trigger = "return_early"   // money went back of a payment not heard of
	TriggerMismatch      Trigger = "mismatch"       // an amount, currency or payment that is not the order's
	TriggerCancel        Trigger = "cancel"         // somebody cancels the order
	TriggerRefund        Trigger = "refund"         // somebody wants its money to go back
	TriggerRefundNothing Trigger = "refund_nothing" // the same for an order of nothing to pay
	TriggerExpiry        Trigger = "expiry"         // its time to pay is over
)

// Triggers are all triggers.
func Triggers() []Trigger {
	return []Trigger{
		TriggerSuccess, TriggerSuccessAgain, TriggerSuccessVoid, TriggerFailure, TriggerReturn, TriggerReturnExtra,
		TriggerReturnAgain, TriggerReturnEarly, TriggerMismatch, TriggerCancel, TriggerRefund, TriggerRefundNothing,
		TriggerExpiry,
	}
}

// Step is what a trigger makes of the order and its units.
type Step int

// The steps, in words of the order.
const (
	StepNone        Step = iota // nothing changes
	StepPay                     // pending units become sold
	StepRebook                  // returned units are taken again; where they can't be, StepRefundDue
	StepFail                    // pending units go back on sale
	StepExpire                  // the same, since the time is over
	StepCancel                  // the same, since somebody wants it so
	StepRefundDue               // money that came too late has to go back; what is pending goes back on sale
	StepOwe                     // the order's money has to go back; sold units go back on sale if that is wanted
	StepRestock                 // what StepOwe left sold goes back on sale if that is wanted now
	StepRefund                  // the order's money went back; sold units stay sold
	StepAnnul                   // StepOwe and StepRefund in one: no money has to go back
	StepExtra                   // another payment of a settled order has to go back
	StepRefundExtra             // another payment went back; the order stays as it is
	StepRemember                // a refund came before its success, which will never pay
	StepReport                  // nothing changes, but somebody must look at it
)

// Transition is the machine's answer for a status and a trigger.
type Transition struct {
	To      OrderStatus    // "": the order stays as it is
	Else    OrderStatus    // of StepRebook: where it goes when the units can't be had again
	Step    Step           //
	Outcome PaymentOutcome // what the sender of a payment event is told
	Reason  RefundReason   // why money has to go back
	Tells   EventType      // what the world is told, "": nothing
	Refusal Code           // why somebody may not
}

// row is a trigger's transitions by status.
type row struct{ pending, paid, failed, cancelled, expired, due, refunded Transition }

func always(t Transition) row { return row{t, t, t, t, t, t, t} }

// Next is the order's whole state machine: what a trigger does to an order of a
// status. Every pair is defined. An order begins as OrderPendingPayment, or as
// OrderPaid when there is nothing to pay.
func Next(status OrderStatus, trigger Trigger) Transition {
	row := rowOf(trigger)
	switch status {
	case OrderPendingPayment:
		return row.pending
	case OrderPaid:
		return row.paid
	case OrderPaymentFailed:
		return row.failed
	case OrderCancelled:
		return row.cancelled
	case OrderExpired:
		return row.expired
	case OrderRefundDue:
		return row.due
	case OrderRefunded:
		return row.refunded
	}
	return Transition{Outcome: OutcomeIgnored}
}

// rowOf gives one row of the table.
func rowOf(trigger Trigger) row {
	ignored := Transition{Outcome: OutcomeIgnored}
	duplicate := Transition{Outcome: OutcomeDuplicate}
	switch trigger {
	case TriggerSuccess:
		return successRow()
	case TriggerSuccessAgain, TriggerReturnAgain:
		return always(duplicate)
	case TriggerSuccessVoid:
		return row{ignored, duplicate, ignored, ignored, ignored, duplicate, duplicate}
	case TriggerFailure:
		fail := Transition{
			To: OrderPaymentFailed, Step: StepFail, Outcome: OutcomePaymentFailed, Tells: EventOrderPaymentFailed,
		}
		return row{fail, ignored, ignored, ignored, ignored, ignored, ignored}
	case TriggerReturn:
		refund := Transition{To: OrderRefunded, Step: StepRefund, Outcome: OutcomeRefunded, Tells: EventOrderRefunded}
		return row{ignored, refund, ignored, ignored, ignored, refund, duplicate}
	case TriggerReturnExtra:
		return always(Transition{Step: StepRefundExtra, Outcome: OutcomeRefunded})
	case TriggerReturnEarly:
		return always(Transition{Step: StepRemember, Outcome: OutcomeRefunded})
	case TriggerMismatch:
		return always(Transition{Step: StepReport, Outcome: OutcomeMismatch, Tells: EventPaymentMismatch})
	case TriggerCancel:
		return cancelRow()
	case TriggerRefund:
		return refundRow(Transition{
			To: OrderRefundDue, Step: StepOwe, Reason: RefundRequested, Tells: EventOrderRefundDue,
		})
	case TriggerRefundNothing:
		return refundRow(Transition{
			To: OrderRefunded, Step: StepAnnul, Reason: RefundRequested, Tells: EventOrderRefunded,
		})
	case TriggerExpiry:
		return row{pending: Transition{To: OrderExpired, Step: StepExpire, Tells: EventOrderExpired}}
	}
	return always(ignored)
}

func successRow() row {
	pay := Transition{To: OrderPaid, Step: StepPay, Outcome: OutcomePaid, Tells: EventOrderPaid}
	rebook := Transition{
		To: OrderPaid, Else: OrderRefundDue, Step: StepRebook, Outcome: OutcomeRebooked, Tells: EventOrderPaid,
	}
	extra := Transition{
		Step: StepExtra, Outcome: OutcomeRefundDueExtra, Reason: RefundExtraPayment, Tells: EventPaymentRefundDue,
	}
	return row{
		pending: pay, failed: rebook, expired: rebook, cancelled: TooLate(RefundCancelled),
		paid: extra, due: extra, refunded: extra,
	}
}

// TooLate is what becomes of money that can't pay its order any more.
func TooLate(reason RefundReason) Transition {
	return Transition{
		To: OrderRefundDue, Step: StepRefundDue, Outcome: OutcomeRefundDue, Reason: reason, Tells: EventOrderRefundDue,
	}
}

func cancelRow() row {
	cancel := Transition{To: OrderCancelled, Step: StepCancel, Tells: EventOrderCancelled}
	refuse := Transition{Refusal: CodeNotCancellable}
	return row{pending: cancel, failed: cancel, expired: cancel, paid: refuse, due: refuse, refunded: refuse}
}

// refundRow: whoever asks again finds the refund due, and may want the units back.
func refundRow(refund Transition) row {
	refuse := Transition{Refusal: CodeNotRefundable}
	again := Transition{Step: StepRestock}
	return row{pending: refuse, paid: refund, due: again, failed: refuse, cancelled: refuse, expired: refuse, refunded: refuse}
}
