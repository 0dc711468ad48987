package stress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// auditPatience is how long a server that has just been loaded is asked again.
	auditPatience = 5 * time.Second
	auditPause    = 250 * time.Millisecond
	// maxFaults bounds the faults that are told one by one.
	maxFaults = 20
)

// LoadAudit compares what customers were told with where the units are.
type LoadAudit struct {
	Source       string `json:"source"`       // sql or api
	Units        int64  `json:"units"`        // that were on sale
	Acknowledged int64  `json:"acknowledged"` // units that a 201 gave
	// Undecided are units that were asked for by requests whose outcome nobody
	// told: each of them is held or not.
	Undecided int64    `json:"undecided"`
	Held      int64    `json:"held"`
	Faults    []string `json:"faults,omitempty"`
	Passed    bool     `json:"passed"`
}

// auditLoad reads every product.
func auditLoad(ctx context.Context, counter Counter, stock int64, products []sale.ProductID, told []tally) LoadAudit {
	audit := LoadAudit{Source: sourceAPI, Passed: true}
	patience, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	for i, product := range products {
		count, fault := auditProduct(ctx, patience, counter, stock, product, told[i])
		audit.Units += stock
		audit.Acknowledged += told[i].accepted * holdQuantity
		audit.Undecided += told[i].undecided * holdQuantity
		audit.Held += count.Books.Held
		audit.Source = cmp.Or(count.Source, audit.Source) // a fault says nothing of where
		if fault != "" {
			audit.fail(fmt.Sprintf("%s: %s", product, fault))
		}
	}
	return audit
}

func (a *LoadAudit) fail(fault string) {
	a.Passed = false
	if len(a.Faults) < maxFaults {
		a.Faults = append(a.Faults, fault)
	}
}

// auditProduct audits a product, again as long as patience lasts when the server is too busy.
func auditProduct(
	ctx, patience context.Context, counter Counter, stock int64, product sale.ProductID, told tally,
) (Count, string) {
	for {
		count, err := counter.Count(ctx, product)
		if err == nil {
			return count, judgeProduct(stock, told, count.Books)
		}
		var refusal *sale.Error
		if !errors.As(err, &refusal) || refusal.RetryAfter == 0 || patience.Err() != nil {
			return Count{}, err.Error()
		}
		select {
		case <-patience.Done():
		case <-time.After(auditPause):
		}
	}
}

// judgeProduct says what is wrong, "" when nothing is: what was acknowledged is
// held, and nothing that nobody asked for, and never more than there was.
func judgeProduct(stock int64, told tally, books sale.Books) string {
	given, held := told.accepted*holdQuantity, books.Held
	most := given + told.undecided*holdQuantity
	switch {
	case given > stock:
		return fmt.Sprintf("%d units were acknowledged of %d that there were", given, stock)
	case held > stock:
		return fmt.Sprintf("%d units are held of %d that there were", held, stock)
	case held < given:
		return fmt.Sprintf("%d units are held, but %d were acknowledged", held, given)
	case held > most:
		return fmt.Sprintf("%d units are held, but at most %d were asked for with success", held, most)
	case !books.Balanced():
		return "the books do not balance"
	default:
		return ""
	}
}
