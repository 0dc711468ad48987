package stress

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// holdTries is how often a worker asks when the service says that it should.
	holdTries = 10
	// holdPause is between two tries when the service does not say how long.
	holdPause = 100 * time.Millisecond
)

// holdSteps is how many steps a worker of NewHolder takes.
const holdSteps = 2

// NewHolder makes the worker that holds one unit: it connects, and when all have
// connected it asks.
func NewHolder(shop Shop, task Task) (Worker, error) {
	product, err := sale.ParseProductID(task.Product)
	if err != nil {
		return Worker{}, fmt.Errorf("reading the task: %w", err)
	}
	var outcome Outcome
	hold := func(ctx context.Context) error {
		outcome = outcomeOf(holdOne(ctx, shop, product, task.Customer))
		return nil
	}
	return Worker{
		Steps:   []func(context.Context) error{shop.Connect, hold},
		Outcome: func() Outcome { return outcome },
	}, nil
}

// holdOne asks as a careful client does: again, under the same key, when nothing
// was decided.
func holdOne(ctx context.Context, shop Shop, product sale.ProductID, customer string) error {
	key := sale.NewHoldID(product).String()
	for try := 1; ; try++ {
		err := shop.Hold(ctx, key, product, customer)
		wait, again := passing(err)
		if !again || try == holdTries {
			return err
		}
		if wait == 0 {
			wait = holdPause
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// outcomeOf sorts what came of a hold. Only a lack of units is a refusal here:
// nothing else may refuse.
func outcomeOf(err error) Outcome {
	var failure *sale.Error
	switch {
	case err == nil:
		return Outcome{Created: true}
	case !errors.As(err, &failure):
		return Outcome{Error: err.Error()}
	case failure.Code == sale.CodeSoldOut, failure.Code == sale.CodeAllHeld, failure.Code == sale.CodeInsufficient:
		return Outcome{Refusal: string(failure.Code)}
	default:
		return Outcome{Error: failure.Error()}
	}
}

// unsafeSteps is how many steps a worker of NewUnsafe takes.
const unsafeSteps = 3

// NewUnsafe makes the worker that sells one unit of the self-check's table as it
// must not be done: it reads the stock, and when all have read it writes one less.
func NewUnsafe(db *sql.DB) Worker {
	var stock int64
	var outcome Outcome
	connect := func(ctx context.Context) error {
		if err := db.PingContext(ctx); err != nil {
			return fmt.Errorf("connecting to MySQL: %w", err)
		}
		return nil
	}
	read := func(ctx context.Context) error {
		if err := db.QueryRowContext(ctx, "SELECT stock FROM stress_self_check WHERE id = 1").Scan(&stock); err != nil {
			return fmt.Errorf("reading the stock: %w", err)
		}
		return nil
	}
	write := func(ctx context.Context) error {
		if stock == 0 {
			outcome.Refusal = string(sale.CodeSoldOut)
			return nil
		}
		if _, err := db.ExecContext(ctx, "UPDATE stress_self_check SET stock = ? WHERE id = 1", stock-1); err != nil {
			return fmt.Errorf("writing the stock: %w", err)
		}
		outcome.Created = true
		return nil
	}
	return Worker{
		Steps:   []func(context.Context) error{connect, read, write},
		Outcome: func() Outcome { return outcome },
	}
}
