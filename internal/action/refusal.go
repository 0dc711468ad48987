package action

import (
	"context"
	"errors"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// errOverdue says that a wish can't be met as things stand, but could be once
// units whose time is over were given back.
var errOverdue = errors.New("units are overdue")

// errCustomersOverdue is errOverdue of units that count against a customer's limit.
var errCustomersOverdue = errors.New("units of the customer are overdue")

// shortestWait and longestWait bound what a refusal asks a client to wait: less
// would be a storm, and after more the answer may have changed.
const (
	shortestWait = time.Second
	longestWait  = time.Hour
)

// seen is what a look says of a product, and of one customer where it has a limit.
type seen struct {
	sale.Product
	now     time.Time
	nextDue time.Time // of the units off sale; see never
	counted count
}

// count is how many units of a product count against a customer's limit, and how
// many of these are overdue.
type count struct{ units, overdue int64 }

// sight is what a look says of the products of a wish. Each number is true at its
// own statement; whatever is written on the ground of them is checked again.
type sight map[sale.ProductID]seen

func seenOf(row store.LookAtProductsRow) seen {
	s := seen{Product: productOf(row.Product), now: row.Now, nextDue: row.HeldDueAt}
	if row.PendingDueAt.Before(s.nextDue) {
		s.nextDue = row.PendingDueAt
	}
	return s
}

// lookAgain looks alone, since others wait for its places at the gates, and where units are
// overdue gives them back, so that nobody is refused because a sweep is late. Units that cannot be given back, since somebody
// is just ordering or paying for them, are not waited for.
func (a *CreateHold) lookAgain(ctx context.Context, w *wish) (terms, error) {
	s, err := a.seeAlone(ctx, w)
	if err != nil {
		return nil, err
	}
	err = s.decide(w, true)
	if errors.Is(err, errOverdue) {
		helped, releaseErr := a.releaseFor(ctx, w, s)
		if releaseErr != nil {
			return nil, releaseErr
		}
		err = nil
		if !helped {
			err = s.decide(w, false)
		}
	}
	if err != nil {
		return nil, err
	}
	return s.terms(), nil
}

// releaseFor gives back what is overdue of the products that a wish lacks, and says
// whether that helped.
func (a *CreateHold) releaseFor(ctx context.Context, w *wish, s sight) (bool, error) {
	helped := false
	for _, id := range ascending(w.Lines) {
		product, quantity := s[id], w.quantity(id)
		if product.lacks(quantity) {
			done, err := a.releaseOverdue(ctx, id, quantity)
			if err != nil {
				return false, err
			}
			helped = helped || done.helped(product.StockVersion)
		}
		if product.mayPassLimit(quantity) {
			done, err := a.releaseCustomers(ctx, id, []string{w.CustomerID}, sale.HoldID{})
			if err != nil {
				return false, err
			}
			helped = helped || done.helped(product.StockVersion)
		}
	}
	return helped, nil
}

// lacks says that there is too little, but more once overdue units were given back.
func (s seen) lacks(quantity int64) bool {
	return s.AvailableStock < quantity && !s.nextDue.After(s.now)
}

// mayPassLimit says that the customer would have too much, but not once its overdue
// units were given back.
func (s seen) mayPassLimit(quantity int64) bool {
	return s.PerCustomerLimit != nil && s.counted.overdue > 0 &&
		s.counted.units+quantity > *s.PerCustomerLimit &&
		s.counted.units-s.counted.overdue+quantity <= *s.PerCustomerLimit
}

// terms are the rules that were seen.
func (s sight) terms() terms {
	t := make(terms, len(s))
	for id, product := range s {
		t[id] = product.Product
	}
	return t
}

// class is one class of refusals: what it says of a line, nil when it does not
// apply. The product is nil when there is none.
type class func(line sale.LineRequest, product *seen) *sale.Refusal

// decide goes through the classes of refusals in the contract's order; the first
// that applies to any line answers, with every line that it applies to. Nil: the
// wish can be tried. With release, errOverdue comes instead of a refusal that giving
// back overdue units may spare.
func (s sight) decide(w *wish, release bool) error {
	if err := s.refusals(w, missing); err != nil {
		return err
	}
	if err := s.terms().check(w); err != nil {
		return err
	}
	if err := s.refusals(w, closed); err != nil {
		return err
	}
	limit := overLimit
	if release {
		limit = surelyOverLimit
	}
	if err := s.refusals(w, limit); err != nil {
		return err
	}
	for _, line := range w.Lines {
		product := s[line.ProductID]
		if release && (product.lacks(line.Quantity) || product.mayPassLimit(line.Quantity)) {
			return errOverdue
		}
	}
	return s.refusals(w, short)
}

// refusals asks one class of all lines.
func (s sight) refusals(w *wish, class class) error {
	var refused []sale.Refusal
	for _, line := range w.Lines {
		var product *seen
		if known, found := s[line.ProductID]; found {
			product = &known
		}
		if refusal := class(line, product); refusal != nil {
			refused = append(refused, *refusal)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return s.refusal(refused)
}

func missing(line sale.LineRequest, product *seen) *sale.Refusal {
	if product != nil {
		return nil
	}
	return &sale.Refusal{Code: sale.CodeProductNotFound, ProductID: line.ProductID}
}

func closed(line sale.LineRequest, product *seen) *sale.Refusal {
	code := product.WindowRefusal(product.now)
	switch code {
	case sale.CodeSaleNotStarted:
		return &sale.Refusal{Code: code, ProductID: line.ProductID, SaleStartsAt: product.SaleStartsAt}
	case sale.CodeSaleEnded:
		return &sale.Refusal{Code: code, ProductID: line.ProductID, SaleEndsAt: product.SaleEndsAt}
	default:
		return nil
	}
}

// surelyOverLimit refuses those who would have too much even after their overdue
// units were given back.
func surelyOverLimit(line sale.LineRequest, product *seen) *sale.Refusal {
	if product.mayPassLimit(line.Quantity) {
		return nil
	}
	return overLimit(line, product)
}

func overLimit(line sale.LineRequest, product *seen) *sale.Refusal {
	if product.PerCustomerLimit == nil || product.counted.units+line.Quantity <= *product.PerCustomerLimit {
		return nil
	}
	return &sale.Refusal{
		Code: sale.CodeLimitReached, ProductID: line.ProductID,
		Limit: *product.PerCustomerLimit, Current: product.counted.units,
	}
}

func short(line sale.LineRequest, product *seen) *sale.Refusal {
	if product.AvailableStock >= line.Quantity {
		return nil
	}
	refusal := &sale.Refusal{
		Code: sale.CodeInsufficient, ProductID: line.ProductID,
		Requested: line.Quantity, Available: product.AvailableStock,
	}
	switch {
	case product.AvailableStock > 0:
	case never(product.nextDue):
		refusal.Code = sale.CodeSoldOut
	default:
		refusal.Code = sale.CodeAllHeld
		refusal.NextReleaseAt = &product.nextDue
	}
	return refusal
}

// sentences say in words what the numbers of a refusal say, in the contract's
// order: of several, the first is the answer's own code.
var sentences = []struct { //nolint:gochecknoglobals // a constant that Go cannot spell
	code   sale.Code
	detail string
}{
	{sale.CodeProductNotFound, "A product does not exist."},
	{sale.CodeSaleNotStarted, "The sale has not started."},
	{sale.CodeSaleEnded, "The sale is over."},
	{sale.CodeLimitReached, "The customer would have more of a product than one customer may."},
	{sale.CodeInsufficient, "Fewer units are available than were asked for."},
	{sale.CodeAllHeld, "All units are taken at the moment; some may come back."},
	{sale.CodeSoldOut, "All units are sold."},
}

// refusal makes one answer of the refused lines.
func (s sight) refusal(refused []sale.Refusal) *sale.Error {
	for _, sentence := range sentences {
		for _, refusal := range refused {
			if refusal.Code == sentence.code {
				return &sale.Error{
					Code: sentence.code, Detail: sentence.detail, Lines: refused,
					RetryAfter: s.wait(sentence.code, refused),
				}
			}
		}
	}
	return &sale.Error{Code: refused[0].Code, Lines: refused}
}

// wait is how long a client that is refused with a code does well to wait: until the
// sale of each line starts, or until units of each may come back; zero for codes with
// which waiting helps nothing. Lines that are refused with another code say so
// themselves.
func (s sight) wait(code sale.Code, refused []sale.Refusal) time.Duration {
	if code != sale.CodeSaleNotStarted && code != sale.CodeAllHeld {
		return 0
	}
	var longest time.Duration
	for _, refusal := range refused {
		until := refusal.SaleStartsAt
		if until == nil {
			until = refusal.NextReleaseAt
		}
		if until != nil {
			longest = max(longest, until.Sub(s[refusal.ProductID].now))
		}
	}
	return min(max(longest, shortestWait), longestWait)
}
