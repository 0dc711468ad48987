package stress

import (
	"context"
	"fmt"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// auditPatience is longer than a server's cached reads may be stale.
	auditPatience = 5 * time.Second
	auditPause    = 250 * time.Millisecond
	// maxFaults bounds the faults that are told one by one.
	maxFaults = 20
)

// Where the audit read.
const (
	sourceSQL = "sql"
	sourceAPI = "api"
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
		audit.Held += count.held(stock)
		if count.Books != nil {
			audit.Source = sourceSQL
		}
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

// auditProduct reads a product, again as long as patience lasts when it is read
// through the API, which may be a little behind.
func auditProduct(
	ctx, patience context.Context, counter Counter, stock int64, product sale.ProductID, told tally,
) (Count, string) {
	for {
		count, err := counter.Count(ctx, product)
		if err != nil {
			return Count{Available: stock}, err.Error()
		}
		fault := judgeProduct(stock, told, count)
		if fault == "" || count.Books != nil || patience.Err() != nil {
			return count, fault
		}
		select {
		case <-patience.Done():
		case <-time.After(auditPause):
		}
	}
}

// held are the units that are not for sale any more.
func (c Count) held(stock int64) int64 {
	if c.Books != nil {
		return c.Books.Held
	}
	return stock - c.Available
}

// judgeProduct says what is wrong, "" when nothing is: what was acknowledged is
// held, and nothing that nobody asked for, and never more than there was.
func judgeProduct(stock int64, told tally, count Count) string {
	given, held := told.accepted*holdQuantity, count.held(stock)
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
	case count.Books != nil && !count.Books.Balanced():
		return "the books do not balance"
	default:
		return ""
	}
}
