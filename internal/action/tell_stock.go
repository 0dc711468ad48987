package action

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// tellBatch is how many products one transaction tells of.
	tellBatch = 200
	// toldColumns is how many values one row of StockTold takes.
	toldColumns = 2
)

// TellStock writes the events that tell what is left of products.
type TellStock struct{ *desk }

// Do tells of each product whose stock changed since it was last told, its latest state
// only, and gives how many it told. While no enabled endpoint wants to know it does
// nothing; who asks first is told of every product. It looks at each product once. No
// sale takes part: versions are compared. Several processes at once are safe: each
// version is told by one of them.
func (a *TellStock) Do(ctx context.Context) (int64, error) {
	var told int64
	var after sale.ProductID
	wanted, err := a.wanted(ctx)
	for more := wanted; more && err == nil && ctx.Err() == nil; {
		var untold []sale.ProductID
		if untold, err = a.untold(ctx, after); err != nil || len(untold) == 0 {
			break
		}
		var batch int64
		batch, err = a.batch(ctx, untold)
		told += batch
		after, more = untold[len(untold)-1], len(untold) == tellBatch
	}
	if err != nil {
		return told, fmt.Errorf("telling the stock: %w", err)
	}
	return told, nil
}

// batch tells of these products, as far as nobody told meanwhile.
func (a *TellStock) batch(ctx context.Context, untold []sale.ProductID) (told int64, err error) {
	err = a.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) (err error) {
		told, err = a.tell(ctx, tx, untold)
		return err
	})
	if err != nil {
		return 0, err
	}
	return told, nil
}

func (a *TellStock) wanted(ctx context.Context) (bool, error) {
	var lists []json.RawMessage
	err := a.DB.Read(ctx, func(ctx context.Context, q store.DBTX) (err error) {
		lists, err = a.q.EndpointsThatWant(ctx, q)
		return err
	})
	for _, list := range lists {
		types, err := typesOf(list)
		if err != nil {
			return false, err
		}
		if (sale.Endpoint{Types: types}).Wants(sale.EventStockChanged) {
			return true, nil
		}
	}
	return false, err
}

func (a *TellStock) untold(ctx context.Context, after sale.ProductID) ([]sale.ProductID, error) {
	var ids []sale.ProductID
	err := a.DB.Survey(ctx, func(ctx context.Context, q store.DBTX) (err error) {
		ids, err = a.q.UntoldStock(ctx, q, store.UntoldStockParams{After: after, Limit: tellBatch})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for stock that changed: %w", err)
	}
	return ids, nil
}

// tell writes the events of the stock as it is, in a few statements however many products
// there are.
func (a *TellStock) tell(ctx context.Context, tx *mysql.Tx, untold []sale.ProductID) (int64, error) {
	if err := a.q.HoldTellings(ctx, tx, untold); err != nil {
		return 0, fmt.Errorf("holding the tellings: %w", err)
	}
	stock, err := a.q.StockToTell(ctx, tx, untold)
	if err != nil {
		return 0, fmt.Errorf("reading the stock: %w", err)
	}
	if len(stock) == 0 {
		return 0, nil
	}
	events, versions := make([]event, len(stock)), make([]any, 0, len(stock)*toldColumns)
	for i, row := range stock {
		events[i] = stockEvent(row)
		versions = append(versions, row.ID, row.StockVersion)
	}
	if _, err := tx.ExecContext(ctx, mysql.ExpandRows(store.StockTold, len(stock)), versions...); err != nil {
		return 0, fmt.Errorf("remembering what is told: %w", err)
	}
	return int64(len(stock)), announce(ctx, tx, events...)
}
