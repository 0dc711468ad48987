package stress

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// Limits of a run. More processes than this tell nothing new.
const (
	MinProcesses = 1
	MaxProcesses = 1000
	// MinSelfCheck is how many processes it takes to lose an update.
	MinSelfCheck = 2
)

// Plan is how many processes fight for how many units.
type Plan struct {
	Processes int
	Stock     int64
	Launch    Launch
	// Progress is told, by one goroutine, how many of all steps were taken.
	Progress func(done, all int)
}

// Inventory makes a product of its own, lets all processes hold one unit of it
// at the same time and reports whether exactly what was there is held. url is
// given to the processes: where the shop is, "" for MySQL. audit counts the
// units. The error says that the run itself failed; a proof that does not hold
// is Report.Passed false.
func Inventory(ctx context.Context, plan Plan, url string, shop, audit Shop) (Report, error) {
	product, err := shop.CreateProduct(ctx, "STRESS-"+rand.Text(), plan.Stock)
	if err != nil {
		return Report{}, err
	}
	tasks := make([]Task, plan.Processes)
	for i := range tasks {
		tasks[i] = Task{Product: product.String(), Customer: fmt.Sprintf("stress-%d", i+1), URL: url}
	}
	outcomes, err := plan.run(ctx, tasks, holdSteps)
	if err != nil {
		return Report{}, err
	}
	count, err := audit.Count(ctx, product)
	if err != nil {
		return Report{}, err
	}
	report := judge(plan, outcomes, count)
	report.ProductID = product.String()
	return report, nil
}

// SelfCheck sells from a table of its own as it must not be done, and judges it
// as Inventory is judged: Report.Passed has to be false, else the proof does not
// bite.
func SelfCheck(ctx context.Context, plan Plan, db *sql.DB) (report Report, err error) {
	if err := createUnsafeTable(ctx, db, plan.Stock); err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, dropUnsafeTable(context.WithoutCancel(ctx), db)) }()
	outcomes, err := plan.run(ctx, slices.Repeat([]Task{{Unsafe: true}}, plan.Processes), unsafeSteps)
	if err != nil {
		return Report{}, err
	}
	var left int64
	if err := db.QueryRowContext(ctx, "SELECT stock FROM stress_self_check WHERE id = 1").Scan(&left); err != nil {
		return Report{}, fmt.Errorf("reading the self-check's stock: %w", err)
	}
	var sold int64
	for _, outcome := range outcomes {
		if outcome.Created {
			sold++
		}
	}
	books := sale.Books{Available: left, Held: sold, Total: plan.Stock, LedgerAvailable: left}
	return judge(plan, outcomes, Count{Books: books, Source: sourceSQL}), nil
}

// run counts the steps for Progress.
func (p Plan) run(ctx context.Context, tasks []Task, steps int) ([]Outcome, error) {
	done := 0
	progress := func() {
		done++
		if p.Progress != nil {
			p.Progress(done, len(tasks)*steps)
		}
	}
	return runCrowd(ctx, p.Launch, tasks, steps, progress)
}

// createUnsafeTable replaces what a killed run left behind.
func createUnsafeTable(ctx context.Context, db *sql.DB, stock int64) error {
	if err := dropUnsafeTable(ctx, db); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, "CREATE TABLE stress_self_check (id INT NOT NULL PRIMARY KEY, stock BIGINT NOT NULL)"); err != nil {
		return fmt.Errorf("making the self-check's table: %w", err)
	}
	if _, err := db.ExecContext(ctx, "INSERT INTO stress_self_check (id, stock) VALUES (1, ?)", stock); err != nil {
		return fmt.Errorf("filling the self-check's table: %w", err)
	}
	return nil
}

func dropUnsafeTable(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, "DROP TABLE IF EXISTS stress_self_check"); err != nil {
		return fmt.Errorf("dropping the self-check's table: %w", err)
	}
	return nil
}
