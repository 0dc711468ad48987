package action

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/budget"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// errRefused says that a transaction did nothing, since a condition of the atomic
// statement did not hold or a limit was passed; a look tells which.
var errRefused = errors.New("the reservation was refused")

// CreateHold takes units off sale for one customer.
type CreateHold struct {
	*desk
	lanes *lane.Lanes[sale.ProductID, *wish]
	looks *lane.Lanes[struct{}, *glance]
	alarm alarm // of keys that are being written elsewhere
}

func newCreateHold(d *desk) *CreateHold {
	a := &CreateHold{desk: d}
	a.lanes = lane.NewLanes(a.serveBatch, d.Meter.Lane(LaneHolds), d.patience(forBatch))
	a.looks = lane.NewLanes(a.serveLooks, d.Meter.Lane(LaneLooks), d.patience(forBatch))
	return a
}

// wish is a request on its way: its lines merged and its id decided.
type wish struct {
	CreateHoldInput
	id    sale.HoldID
	claim claim     // not written when the key is the hold's id, which is its own mark
	byID  bool      // the key is the hold's id
	hold  sale.Hold // what became of it

	replayed *HoldView // what an earlier request with the key had made, where a look saw it
}

// terms are the rules that each product of a wish is held on.
type terms map[sale.ProductID]sale.Product

// Do makes the hold, all lines or none. It returns the refusals of the contract in
// their order, CodeKeyReused or CodeKeyInProgress, CodeInvalidRequest for a key in
// the form of a hold id that cannot become this hold's.
func (a *CreateHold) Do(ctx context.Context, in CreateHoldInput) (Result[HoldView], error) {
	w, err := newWish(in)
	if err != nil {
		return Result[HoldView]{}, err
	}
	result, err := a.make(ctx, w)
	a.report(ctx, w, result, err)
	return result, err
}

func newWish(in CreateHoldInput) (*wish, error) {
	w := &wish{CreateHoldInput: in}
	w.Lines = sale.MergeLines(in.Lines)
	if id, err := sale.ParseHoldID(in.Key); err == nil {
		w.id, w.byID, w.claim.id = id, true, id
		return w, nil
	}
	w.id = sale.NewHoldID(sale.Home(w.Lines))
	claim, err := newClaim("createHold", "", in.Key, w.asked())
	w.claim = claim
	return w, err
}

// asked is what tells two wishes apart. Their number and length keep lines from reading as
// a part of the customer's name.
func (w *wish) asked() []byte {
	asked := binary.AppendUvarint(nil, uint64(len(w.Lines)))
	for _, line := range w.Lines {
		asked = binary.BigEndian.AppendUint64(append(asked, line.ProductID[:]...), uint64(line.Quantity)) //nolint:gosec // as bits
	}
	return append(asked, w.CustomerID...)
}

func (a *CreateHold) make(ctx context.Context, w *wish) (Result[HoldView], error) {
	if w.byID && !sale.IsHoldIDFor(w.id, sale.Home(w.Lines)) {
		return a.strange(ctx, w)
	}
	if w.Key != "" {
		end, err := a.flights.begin(ctx, w.claim.id)
		if err != nil {
			return Result[HoldView]{}, err
		}
		defer end()
	}
	switch err := a.serve(ctx, w); {
	case errors.Is(err, errTaken):
		return a.replay(ctx, w)
	case err != nil:
		return Result[HoldView]{}, err
	}
	return Result[HoldView]{Value: HoldView{Hold: w.hold, Status: sale.HoldActive}}, nil
}

// serve takes the batched path for a wish of one product, the plain one else.
func (a *CreateHold) serve(ctx context.Context, w *wish) error {
	if a.Coalesce && len(w.Lines) == 1 {
		return a.merged(ctx, a.lanes.Do(ctx, w.Lines[0].ProductID, w))
	}
	return a.reserve(ctx, w)
}

// strange answers a key in the form of a hold id that no hold of these lines can
// have: a hold that is there was asked for with other lines.
func (a *CreateHold) strange(ctx context.Context, w *wish) (Result[HoldView], error) {
	switch _, err := a.hold(ctx, w.id); {
	case err == nil:
		return Result[HoldView]{}, keyReused()
	case !errors.Is(err, &sale.Error{Code: sale.CodeHoldNotFound}):
		return Result[HoldView]{}, err
	}
	return Result[HoldView]{}, sale.Invalid("/header/Idempotency-Key",
		"a key in the form of a hold id must be a UUIDv7 whose last two bytes are those of the lowest product id")
}

// replay answers a key that had its effect.
func (a *CreateHold) replay(ctx context.Context, w *wish) (Result[HoldView], error) {
	if w.replayed != nil {
		return w.again(*w.replayed)
	}
	id := w.id
	if !w.byID {
		target, err := w.claim.recall(ctx, a.DB, a.q)
		if err != nil {
			return Result[HoldView]{}, err
		}
		id = target
	}
	view, err := a.hold(ctx, id)
	if err != nil {
		return Result[HoldView]{}, err
	}
	return w.again(view)
}

// again answers with the hold that the key stands for. Only a record of a key tells what
// was asked with it: a key that is a hold's id is compared with that hold.
func (w *wish) again(view HoldView) (Result[HoldView], error) {
	if w.byID && !w.isFor(view.Hold) {
		return Result[HoldView]{}, keyReused()
	}
	return Result[HoldView]{Value: view, Replayed: true}, nil
}

// isFor says whether a hold is what this wish asks for.
func (w *wish) isFor(hold sale.Hold) bool {
	if hold.CustomerID != w.CustomerID || len(hold.Lines) != len(w.Lines) {
		return false
	}
	for i, line := range hold.Lines {
		if line.ProductID != w.Lines[i].ProductID || line.Quantity != w.Lines[i].Quantity {
			return false
		}
	}
	return true
}

// reserve is the plain path: it tries on the terms that the cache knows, looks at the
// database when that does nothing, and tries again on what it saw, until it holds or
// must refuse.
func (a *CreateHold) reserve(ctx context.Context, w *wish) error {
	if a.alarm.up() {
		if err := a.keyBusy(ctx, w); err != nil {
			return err
		}
	}
	t, enough, err := a.cached(ctx, w)
	if err != nil {
		return err
	}
	if !enough {
		s, err := a.see(ctx, w)
		if err != nil {
			return err
		}
		switch err := s.decide(w, true); {
		case err == nil:
			t = s.terms()
		case errors.Is(err, errOverdue):
			t = nil // what is overdue is given back in turn, before the first try
		default:
			return err
		}
	}
	left, err := a.reserveInTurn(ctx, w, t)
	if mysql.IsLockWait(err) {
		return cmp.Or(a.keyBusy(ctx, w), err)
	}
	if err != nil {
		return err
	}
	a.Cache.Put(ctx, left...)
	return nil
}

// reserveInTurn does it with a place at the products' gates.
func (a *CreateHold) reserveInTurn(ctx context.Context, w *wish, t terms) ([]sale.Product, error) {
	leave, err := a.enter(ctx, ascending(w.Lines)...)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx = budget.Within(ctx, a.patience(forOverdue))
	for {
		left, err := a.try(ctx, w, t)
		if !errors.Is(err, errRefused) {
			return left, err
		}
		if t, err = a.lookAgain(ctx, w); err != nil {
			return nil, err
		}
	}
}

// cached gives the terms as the cache knows them, and whether by these there is
// enough of everything and each sale is on: this process's clock only spares those outside of
// it a write, and refuses nobody. A product that is not there has no terms.
func (a *CreateHold) cached(ctx context.Context, w *wish) (terms, bool, error) {
	t := make(terms, len(w.Lines))
	enough, now := true, time.Now()
	for _, line := range w.Lines {
		if budget.Spent(ctx) {
			return nil, false, contended()
		}
		product, _, err := a.known(ctx, line.ProductID)
		if errors.Is(err, &sale.Error{Code: sale.CodeProductNotFound}) {
			// The look names every line whose product is missing.
			enough = false
			continue
		}
		if err != nil {
			return nil, false, err
		}
		t[line.ProductID] = product
		enough = enough && product.AvailableStock >= line.Quantity && product.WindowRefusal(now) == ""
	}
	// Terms that forbid the wish may be old: only a look refuses.
	return t, enough && t.check(w) == nil, nil
}

// try is the whole reservation in one transaction: the key, the lines, then the
// hot rows in ascending order, as late as can be, and their movements.
func (a *CreateHold) try(ctx context.Context, w *wish, t terms) ([]sale.Product, error) {
	if len(t) < len(w.Lines) {
		return nil, errRefused
	}
	var left []sale.Product
	err := a.DB.Tx(ctx, a.settle(w, &w.hold.CreatedAt), func(ctx context.Context, tx *mysql.Tx) (err error) {
		w.hold = t.hold(w, tx.Now)
		if err := a.record(ctx, tx, w); err != nil {
			return err
		}
		left, err = a.take(ctx, tx, w, t)
		return err
	})
	return left, err
}

// settle tells after a lost commit whether the hold that was made then is there.
func (a *CreateHold) settle(w *wish, made *time.Time) mysql.Settle {
	return func(ctx context.Context, conn store.DBTX) (bool, error) {
		rows, err := a.q.HoldExists(ctx, conn, store.HoldExistsParams{ID: w.id, CreatedAt: *made})
		return rows > 0, err
	}
}

// record writes the key and the lines.
func (a *CreateHold) record(ctx context.Context, tx *mysql.Tx, w *wish) error {
	if w.Key != "" && !w.byID {
		if err := w.claim.write(ctx, a.q, tx, w.id); err != nil {
			return err
		}
	}
	return insertHolds(ctx, tx, []sale.Hold{w.hold})
}

// insertHolds writes all lines of holds in one statement; errTaken when one of the
// ids is taken.
func insertHolds(ctx context.Context, tx *mysql.Tx, holds []sale.Hold) error {
	rows, args := 0, make([]any, 0, len(holds)*holdLineColumns)
	for _, hold := range holds {
		for i, line := range hold.Lines {
			rows++
			args = append(args, hold.ID, i, line.ProductID, hold.CustomerID, line.Quantity,
				line.UnitPrice.Amount, line.UnitPrice.Currency, hold.ExpiresAt, hold.ExpiresAt,
				inSeconds(hold.TTL), inSeconds(hold.PaymentWindow), hold.CreatedAt)
		}
	}
	if err := insertNew(ctx, tx, mysql.ExpandRows(store.InsertHoldLine, rows), args); err != nil {
		return fmt.Errorf("inserting %d lines of holds: %w", rows, err)
	}
	return nil
}

// holdLineColumns is how many values one row of InsertHoldLine takes.
const holdLineColumns = 12

// take runs the atomic statement for each product and counts limits, then says
// what is left.
func (a *CreateHold) take(ctx context.Context, tx *mysql.Tx, w *wish, t terms) ([]sale.Product, error) {
	left := make([]sale.Product, 0, len(w.Lines))
	for _, id := range ascending(w.Lines) {
		quantity := w.quantity(id)
		version, err := a.takeUnits(ctx, tx, t[id], quantity)
		if err != nil {
			return nil, err
		}
		if err := a.checkLimit(ctx, tx, w, t[id]); err != nil {
			return nil, err
		}
		product, err := a.unitsTaken(ctx, tx, t[id], quantity, version)
		if err != nil {
			return nil, err
		}
		left = append(left, product)
	}
	return left, nil
}

// checkLimit counts under the product's lock, this hold's own units among them.
func (a *CreateHold) checkLimit(ctx context.Context, tx *mysql.Tx, w *wish, product sale.Product) error {
	if product.PerCustomerLimit == nil {
		return nil
	}
	counts, err := a.countUnits(ctx, tx, product.ID, []string{w.CustomerID})
	if err != nil {
		return err
	}
	if counts[w.CustomerID].units > *product.PerCustomerLimit {
		return errRefused
	}
	return nil
}

func (w *wish) quantity(id sale.ProductID) int64 {
	for _, line := range w.Lines {
		if line.ProductID == id {
			return line.Quantity
		}
	}
	return 0
}

// check refuses what the terms alone forbid.
func (t terms) check(w *wish) error {
	var total sale.Money
	for _, line := range w.Lines {
		price := t[line.ProductID].Price
		if total.Currency != "" && total.Currency != price.Currency {
			return sale.Fail(sale.CodeMixedCurrency, "The lines are in more than one currency.")
		}
		total.Currency = price.Currency
		total.Amount += price.Amount * line.Quantity
	}
	if total.Amount > sale.MaxAmount {
		return sale.Invalid("/lines", fmt.Sprintf("would cost more than %d together", int64(sale.MaxAmount)))
	}
	return nil
}

// hold is what the wish becomes on these terms at now: of several products the
// shortest time to live and payment window count.
func (t terms) hold(w *wish, now time.Time) sale.Hold {
	hold := sale.Hold{ID: w.id, CustomerID: w.CustomerID, CreatedAt: now, Lines: make([]sale.Line, len(w.Lines))}
	for i, line := range w.Lines {
		product := t[line.ProductID]
		hold.Lines[i] = sale.Line{ProductID: line.ProductID, Quantity: line.Quantity, UnitPrice: product.Price}
		if i == 0 || product.HoldTTL < hold.TTL {
			hold.TTL = product.HoldTTL
		}
		if i == 0 || product.PaymentWindow < hold.PaymentWindow {
			hold.PaymentWindow = product.PaymentWindow
		}
	}
	hold.ExpiresAt = now.Add(hold.TTL)
	return hold
}

func (a *CreateHold) report(ctx context.Context, w *wish, result Result[HoldView], err error) {
	var refusal *sale.Error
	switch {
	case err == nil && result.Replayed:
		a.Log.LogAttrs(ctx, slog.LevelInfo, "hold.replayed", slog.Any("hold_id", result.Value.ID))
	case err == nil:
		var units int64
		for _, line := range w.Lines {
			units += line.Quantity
		}
		a.Meter.HoldCreated(units)
		a.Log.LogAttrs(ctx, slog.LevelInfo, "hold.created", slog.Any("hold_id", w.id),
			slog.String("customer_id", w.CustomerID), slog.Int64("units", units),
			slog.Any("product_id", w.Lines[0].ProductID))
	case errors.As(err, &refusal):
		a.Meter.HoldRejected(refusal.Code)
		a.Log.LogAttrs(ctx, slog.LevelInfo, "hold.rejected", slog.String("code", string(refusal.Code)),
			slog.String("customer_id", w.CustomerID), slog.Any("product_id", w.Lines[0].ProductID))
	}
}
