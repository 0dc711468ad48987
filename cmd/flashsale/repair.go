package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// repaired is one product that was out of balance, and what came of it.
type repaired struct {
	sale.Repair
	done bool
}

// repairJSON is what came of a product for a machine. Its books are those from before.
type repairJSON struct {
	booksJSON
	NewAvailable int64 `json:"new_available"`
	LedgerDelta  int64 `json:"ledger_delta"`
	Oversold     int64 `json:"oversold"`
	Repaired     bool  `json:"repaired"`
}

func (sh *shell) runRepair(ctx context.Context, ids []sale.ProductID, yes, asJSON bool) error {
	cfg, err := sh.config(app.EnvMySQLDSN)
	if err != nil {
		return err
	}
	core, err := sh.openCore(ctx, cfg)
	if err != nil {
		return err
	}
	list, failure := repairs(ctx, core, ids, yes)
	show := sh.printRepairs
	if asJSON {
		show = sh.printRepairsJSON
	}
	return errors.Join(show(list), failure, verdict(list), core.Close())
}

// repairs finds what is out of balance and, if that is wanted, sets it right. A
// product that fails does not stop the others.
func repairs(ctx context.Context, core *app.Core, ids []sale.ProductID, yes bool) ([]repaired, error) {
	books, err := core.Actions.Audit.Do(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("auditing: %w", err)
	}
	var list []repaired
	var failures []error
	for _, b := range books {
		if b.Balanced() {
			continue
		}
		one := repaired{Repair: b.Repair()}
		if yes && one.Possible() {
			one, err = repairNow(ctx, core, b.ProductID)
			if err != nil {
				failures = append(failures, err)
				one.Repair = b.Repair()
			}
		}
		list = append(list, one)
	}
	return list, errors.Join(failures...)
}

func repairNow(ctx context.Context, core *app.Core, id sale.ProductID) (repaired, error) {
	repair, err := core.Actions.RepairBooks.Do(ctx, id)
	if err != nil {
		return repaired{}, fmt.Errorf("repairing %s: %w", id, err)
	}
	return repaired{Repair: repair, done: repair.Possible()}, nil
}

// verdict fails when books stay out of balance.
func verdict(list []repaired) error {
	unrepaired, oversold := 0, 0
	for _, one := range list {
		if !one.done {
			unrepaired++
		}
		if !one.Possible() {
			oversold++
		}
	}
	switch {
	case oversold > 0:
		return fmt.Errorf("products that stay out of balance: %d; that have sold more than there is: %d, a person has to decide",
			unrepaired, oversold)
	case unrepaired > 0:
		return fmt.Errorf("products that stay out of balance: %d; --repair --yes sets them right", unrepaired)
	}
	return nil
}

func (sh *shell) printRepairs(list []repaired) error {
	var text strings.Builder
	for _, one := range list {
		explain(&text, one)
	}
	if len(list) == 0 {
		text.WriteString("Every product is in balance: nothing to repair.\n")
	}
	return sh.printf("%s", text.String())
}

// explain says in words and numbers what is wrong with a product's books, and what is
// or would be done.
func explain(text *strings.Builder, one repaired) {
	say := func(format string, args ...any) { fmt.Fprintf(text, format+"\n", args...) }
	b := one.Books
	say("%s (%s)", b.ProductID, b.SKU)
	if b.Balanced() {
		say("  It is in balance by now: somebody else set it right.")
		return
	}
	say("  available %d + held %d + pending %d + sold %d = %d of a total of %d: %s.",
		b.Available, b.Held, b.Pending, b.Sold, b.Available+b.OffSale(), b.Total, missing(b.Total-b.Available-b.OffSale()))
	say("  The ledger's movements come to %d, available is %d: %s.",
		b.LedgerAvailable, b.Available, missing(b.Available-b.LedgerAvailable))
	switch {
	case !one.Possible():
		say("  Not repaired: %d units are off sale, %d more than there are. Cancel or refund orders, or raise the stock by %d,",
			b.OffSale(), one.Oversold, one.Oversold)
		say("  then repair.")
	case one.done:
		say("  Repaired: available is %d, the total less %d off sale; a movement of %+d says so.",
			one.NewAvailable, b.OffSale(), one.LedgerDelta)
	default:
		say("  The repair would set available to %d, the total less %d off sale, and write a movement of %+d.",
			one.NewAvailable, b.OffSale(), one.LedgerDelta)
		if b.LedgerAvailable == b.Available {
			say("  Ledger and product agree, so the lines may be what is wrong: look at them before you repair.")
		}
	}
}

// missing says by how many units a sum misses what it should be.
func missing(units int64) string {
	switch {
	case units > 0:
		return fmt.Sprintf("%d too few", units)
	case units < 0:
		return fmt.Sprintf("%d too many", -units)
	}
	return "right"
}

func (sh *shell) printRepairsJSON(list []repaired) error {
	out := make([]repairJSON, len(list))
	for i, one := range list {
		out[i] = repairJSON{
			booksJSON: booksForJSON(one.Books), NewAvailable: one.NewAvailable, LedgerDelta: one.LedgerDelta,
			Oversold: one.Oversold, Repaired: one.done,
		}
	}
	return sh.printJSON(out)
}
