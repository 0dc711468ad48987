package stress

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// actAs makes this test's own executable a worker process, of a kind that the
// variable names.
const actAs = "STRESS_TEST_ACT_AS"

func TestMain(m *testing.M) {
	kind := os.Getenv(actAs)
	if kind == "" {
		os.Exit(m.Run())
	}
	if err := Work(context.Background(), os.Stdin, os.Stdout, actor(kind)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func actor(kind string) func(Task) (Worker, error) {
	step := func(context.Context) error { return nil }
	return func(task Task) (Worker, error) {
		switch {
		case kind == "cannot start":
			return Worker{}, errors.New("no database here")
		case kind == "second fails" && task.Customer == "2":
			step = func(context.Context) error { return errors.New("this one fails") }
		}
		steps := []func(context.Context) error{step, step, step}
		return Worker{Steps: steps, Outcome: func() Outcome { return Outcome{Refusal: task.Customer} }}, nil
	}
}

func launchAs(kind string) Launch {
	return func(ctx context.Context) (*exec.Cmd, error) {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), actAs+"="+kind)
		return cmd, nil
	}
}

func tasksOf(customers ...string) []Task {
	tasks := make([]Task, len(customers))
	for i, customer := range customers {
		tasks[i].Customer = customer
	}
	return tasks
}

func TestEveryProcessGetsItsOwnTaskAndTellsItsOwnOutcome(t *testing.T) {
	t.Parallel()
	steps := 0
	outcomes, err := runCrowd(t.Context(), launchAs("fine"), tasksOf("1", "2", "3"), 3, func() { steps++ })
	require.NoError(t, err)
	assert.Equal(t, []Outcome{{Refusal: "1"}, {Refusal: "2"}, {Refusal: "3"}}, outcomes)
	assert.Equal(t, 9, steps)
}

func TestAProcessThatFailsEndsTheRunWithItsOwnWords(t *testing.T) {
	t.Parallel()
	for kind, words := range map[string]string{"second fails": "this one fails", "cannot start": "no database here"} {
		_, err := runCrowd(t.Context(), launchAs(kind), tasksOf("1", "2", "3"), 3, func() {})
		require.ErrorContains(t, err, words)
	}
}

func TestAnEndedContextEndsTheProcesses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := runCrowd(ctx, launchAs("fine"), tasksOf("1", "2", "3"), 3, cancel)
	require.Error(t, err)
}

func TestOnlyEveryUnitExactlyOncePasses(t *testing.T) {
	t.Parallel()
	outcomes := func(created, refused, failed int) []Outcome {
		var list []Outcome
		for range created {
			list = append(list, Outcome{Created: true})
		}
		for range refused {
			list = append(list, Outcome{Refusal: string(sale.CodeAllHeld)})
		}
		for range failed {
			list = append(list, Outcome{Error: "boom"})
		}
		return list
	}
	books := func(available, held, ledger int64) Count {
		return Count{Books: sale.Books{Available: available, Held: held, Total: 10, LedgerAvailable: ledger}}
	}
	tests := map[string]struct {
		outcomes []Outcome
		count    Count
		passed   bool
	}{
		"all sold once":              {outcomes(10, 20, 0), books(0, 10, 0), true},
		"one too many":               {outcomes(11, 19, 0), books(0, 10, 0), false},
		"one too few":                {outcomes(9, 21, 0), books(1, 9, 1), false},
		"an error":                   {outcomes(10, 19, 1), books(0, 10, 0), false},
		"one is left":                {outcomes(10, 20, 0), books(1, 10, 1), false},
		"the books hold one more":    {outcomes(10, 20, 0), books(0, 11, 0), false},
		"the ledger says otherwise":  {outcomes(10, 20, 0), books(0, 10, 1), false},
		"a hold that is not booked":  {outcomes(10, 20, 0), books(0, 9, 0), false},
		"everything was oversold":    {outcomes(30, 0, 0), books(9, 30, 9), false},
		"an answer nobody told":      {outcomes(10, 19, 0), books(0, 10, 0), false},
		"nobody got what was there":  {outcomes(0, 30, 0), books(10, 0, 10), false},
		"nothing is left in the API": {outcomes(10, 20, 0), books(1, 9, 1), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := judge(Plan{Processes: 30, Stock: 10}, test.outcomes, test.count)
			assert.Equal(t, test.passed, report.Passed)
		})
	}
}

func TestMoreUnitsThanProcessesLeaveSome(t *testing.T) {
	t.Parallel()
	report := judge(Plan{Processes: 2, Stock: 5}, []Outcome{{Created: true}, {Created: true}}, Count{
		Books: sale.Books{Available: 3, Held: 2, Total: 5, LedgerAvailable: 3},
	})
	assert.True(t, report.Passed)
	assert.Equal(t, Figures{Available: 3, Holds: 2}, report.Expected)
}

func TestOnlyALackOfUnitsIsARefusal(t *testing.T) {
	t.Parallel()
	for _, code := range []sale.Code{sale.CodeSoldOut, sale.CodeAllHeld, sale.CodeInsufficient} {
		assert.Equal(t, Outcome{Refusal: string(code)}, outcomeOf(sale.Fail(code, "")))
	}
	for _, err := range []error{sale.Fail(sale.CodeLimitReached, "x"), sale.Fail(sale.CodeUnavailable, "x"), errors.New("x")} {
		assert.NotEmpty(t, outcomeOf(err).Error)
	}
	assert.Equal(t, Outcome{Created: true}, outcomeOf(nil))
}

// flakyShop says a number of times that nothing was decided.
type flakyShop struct {
	Shop
	left int
	keys map[string]bool
}

func (f *flakyShop) Hold(_ context.Context, key string, _ sale.ProductID, _ string) error {
	f.keys[key] = true
	if f.left == 0 {
		return nil
	}
	f.left--
	return &sale.Error{Code: sale.CodeOutcomeUnknown, RetryAfter: 1}
}

func TestWhatWasNotDecidedIsAskedAgainUnderTheSameKey(t *testing.T) {
	t.Parallel()
	shop := &flakyShop{left: holdTries - 1, keys: map[string]bool{}}
	require.NoError(t, holdOne(t.Context(), shop, sale.NewProductID(), "c"))
	assert.Len(t, shop.keys, 1)
	shop.left = holdTries
	require.ErrorIs(t, holdOne(t.Context(), shop, sale.NewProductID(), "c"), &sale.Error{Code: sale.CodeOutcomeUnknown})
}

func TestTheTableSaysWhatWasExpectedAndFound(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	report := judge(Plan{Processes: 1, Stock: 1}, []Outcome{{Created: true}},
		Count{Books: sale.Books{Held: 1, Total: 1}})
	require.NoError(t, report.Print(&text))
	assert.Equal(t, `FIGURE             EXPECTED  FOUND
available          0         0
holds              1         1
rejected           0         0
errors             0         0
held in the books  1         1
balanced: yes
`, text.String())
}
