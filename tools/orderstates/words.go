package main

import (
	"fmt"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// words are a trigger's: on an arrow, and in a sentence.
type words struct{ short, sentence string }

func wordsOf(trigger sale.Trigger) (words, error) {
	known, ok := map[sale.Trigger]words{
		sale.TriggerSuccess:       {"success", "Money came, of a payment not heard of before."},
		sale.TriggerSuccessAgain:  {"success again", "Money came that is known already."},
		sale.TriggerSuccessVoid:   {"success, refunded", "Money came that is known to have gone back."},
		sale.TriggerFailure:       {"payment failed", "A payment failed."},
		sale.TriggerReturn:        {"money went back", "The money that the order stands on went back."},
		sale.TriggerReturnExtra:   {"extra went back", "Money of another known payment for the order went back."},
		sale.TriggerReturnAgain:   {"went back again", "Money went back of which that is known already."},
		sale.TriggerReturnEarly:   {"went back early", "Money went back of a payment not heard of."},
		sale.TriggerMismatch:      {"mismatch", "The amount or currency is not the order's, or the payment is another order's."},
		sale.TriggerCancel:        {"cancel", "Somebody cancels the order."},
		sale.TriggerRefund:        {"refund", "Somebody wants the order's money to go back."},
		sale.TriggerRefundNothing: {"refund, nothing to pay", "The same for an order of nothing to pay."},
		sale.TriggerExpiry:        {"time to pay is over", "Its `pay_by` is reached: it is expired from then on, whenever the sweep comes."},
	}[trigger]
	if !ok {
		return words{}, fmt.Errorf("no words for the trigger %s: add them to wordsOf", trigger)
	}
	return known, nil
}

// label is what stands on an arrow, line by line.
func label(trigger sale.Trigger, step sale.Step, otherwise bool) ([]string, error) {
	known, err := wordsOf(trigger)
	switch {
	case err != nil:
		return nil, err
	case otherwise:
		return []string{"late " + known.short + ", units gone,", "limit reached or policy refund"}, nil
	case step == sale.StepRebook:
		return []string{"late " + known.short + ",", "units taken again"}, nil
	case step == sale.StepRefundDue:
		return []string{"late " + known.short}, nil
	default:
		return []string{known.short}, nil
	}
}

// effectOf says what a step does, "" where it does nothing.
func effectOf(step sale.Step) (string, error) {
	const back = "pending units go back on sale"
	known, ok := map[sale.Step]string{
		sale.StepNone:        "",
		sale.StepPay:         "pending units become sold",
		sale.StepRebook:      "units are taken again, all or none",
		sale.StepFail:        back,
		sale.StepExpire:      back,
		sale.StepCancel:      back,
		sale.StepRefundDue:   "this money is due back, " + back,
		sale.StepRestock:     "units that are still sold are on sale again if wanted",
		sale.StepOwe:         "the money is due back, sold units are on sale again if wanted",
		sale.StepRefund:      "units stay where they are",
		sale.StepAnnul:       "no money has to go back, sold units are on sale again if wanted",
		sale.StepExtra:       "this payment is due back",
		sale.StepRefundExtra: "this payment went back",
		sale.StepRemember:    "remembered: its success will never pay",
		sale.StepReport:      "somebody must look at it",
	}[step]
	if !ok {
		return "", fmt.Errorf("no words for step %d: add them to effectOf", step)
	}
	return known, nil
}
