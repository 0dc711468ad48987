package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// machine is a state machine of an order: sale.Next.
type machine func(status sale.OrderStatus, trigger sale.Trigger) sale.Transition

// edge is what has an arrow of its own.
type edge struct {
	from, to  sale.OrderStatus // from "": an order begins there
	otherwise bool             // where it goes when the units can't be had again
}

// arrow is an edge with all that leads along it.
type arrow struct {
	edge
	triggers []string // none where an order begins
	label    []string // its lines
}

// String names the arrow in the picture, for whoever can't see it.
func (a arrow) String() string {
	switch {
	case a.from == "":
		return fmt.Sprintf("begins as %s: %s", a.to, strings.Join(a.label, " "))
	case a.otherwise:
		return fmt.Sprintf("%s or else to %s: %s", a.from, a.to, strings.Join(a.triggers, ", "))
	default:
		return fmt.Sprintf("%s to %s: %s", a.from, a.to, strings.Join(a.triggers, ", "))
	}
}

// arrows are the machine's: of each status and trigger that changes it, triggers of
// the same way together, in the order of the statuses and triggers.
func arrows(next machine) ([]arrow, error) {
	found := []arrow{
		{edge: edge{to: sale.OrderPendingPayment}, label: []string{"ordered"}},
		{edge: edge{to: sale.OrderPaid}, label: []string{"ordered, nothing to pay"}},
	}
	add := func(e edge, trigger sale.Trigger, step sale.Step) error {
		lines, err := label(trigger, step, e.otherwise)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(found, func(a arrow) bool { return a.edge == e })
		if at < 0 {
			at = len(found)
			found = append(found, arrow{edge: e})
		}
		found[at].triggers = append(found[at].triggers, string(trigger))
		found[at].label = append(found[at].label, lines...)
		return nil
	}
	for _, status := range sale.OrderStatuses() {
		for _, trigger := range sale.Triggers() {
			way := next(status, trigger)
			if way.To == "" {
				continue
			}
			if err := add(edge{from: status, to: way.To}, trigger, way.Step); err != nil {
				return nil, err
			}
			if way.Else == "" {
				continue
			}
			if err := add(edge{from: status, to: way.Else, otherwise: true}, trigger, way.Step); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}
