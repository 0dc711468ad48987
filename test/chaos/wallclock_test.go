package chaos

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// root is the repository's, seen from here.
const root = "../.."

// Why the program may look at its own clock.
const (
	measures = "measures how long something takes, or bounds it: a clock that is wrong by the same all the time cancels out"
	wakes    = "says when a loop or a schedule goes on, from one look at the clock to the next"
	keeps    = "says how long a copy in memory is good, from one look at the clock to the next"
	names    = "gives an id its place among others; nothing is decided by it"
	signs    = "is compared with the time that a sender signed, or signs: the one place that a wrong clock breaks, by refusing"
	dates    = "dates what the demo makes"
	chooses  = "chooses between two ways to one answer, which the database's clock gives"
	tells    = "is told in an answer's Date, as net/http tells it"
)

// wallClock is each function that looks at the process's clock.
func wallClock() map[string]string {
	return map[string]string{
		"cmd/flashsale/demo.go setUp":                        dates,
		"cmd/flashsale/demo.go printWebhook":                 signs,
		"internal/action/batch_holds.go guess":               chooses,
		"internal/action/busy_keys.go raise":                 wakes, // how long holds look before they write
		"internal/action/busy_keys.go up":                    wakes,
		"internal/action/create_hold.go cached":              chooses,
		"internal/action/process_payment.go Do":              measures, // how long the event has waited here
		"internal/budget/budget.go Within":                   measures,
		"internal/budget/budget.go Left":                     measures,
		"internal/budget/budget.go Spent":                    measures,
		"internal/cache/cache.go Get":                        keeps,
		"internal/cache/cache.go Put":                        keeps,
		"internal/cache/cache.go fly":                        measures,
		"internal/cache/pending.go take":                     keeps,
		"internal/cache/remote.go keep":                      wakes,
		"internal/cache/remote.go queue":                     keeps,
		"internal/httpapi/live.go limitWrite":                measures,
		"internal/httpapi/live.go beginStream":               measures,
		"internal/httpapi/middleware.go observe":             measures,
		"internal/httpapi/middleware.go record":              measures,
		"internal/httpapi/payments.go ReceivePaymentWebhook": signs,
		"internal/httpapi/wire.go refuse":                    measures,
		"internal/httpapi/wire.go refuseOn":                  tells,
		"internal/lane/lane.go Do":                           measures,
		"internal/lane/lane.go fly":                          measures,
		"internal/live/listener.go Next":                     measures, // how long an older state has lasted
		"internal/live/live.go enter":                        measures,
		"internal/live/watch.go look":                        measures,
		"internal/mysql/space.go admit":                      measures,
		"internal/mysql/space.go note":                       measures,
		"internal/mysql/tx.go ClockAt":                       measures, // how long ago the database told of its clock
		"internal/mysql/tx.go Tx":                            measures,
		"internal/mysql/tx.go answered":                      measures,
		"internal/mysql/tx.go commit":                        measures,
		"internal/sale/ids.go newUUIDv7":                     names,
		"internal/stress/load.go do":                         measures,
		"internal/stress/load.go request":                    measures,
		"internal/stress/load_record.go watch":               measures,
		"internal/stress/load_schedule.go pace":              wakes,
		"internal/telemetry/books.go WatchAudits":            measures,
		"internal/telemetry/books.go AuditDone":              measures,
		"internal/webhook/sender.go signed":                  signs,
		"internal/worker/loop.go turn":                       measures,
	}
}

// The database's clock decides. Whoever makes the program look at the process's own has
// to say here what for: a time that is stored, compared with a stored one or shown to a
// client is none of these reasons.
func TestProcessClockIsReadWhereItDecidesNothing(t *testing.T) {
	t.Parallel()
	looks := map[string]bool{}
	for _, folder := range []string{"cmd", "internal"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.Name() == "testenv":
				return fs.SkipDir
			case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			for _, function := range clockReaders(file) {
				looks[filepath.ToSlash(name)+" "+function] = true
			}
			return err
		}))
	}
	assert.Equal(t, slices.Sorted(maps.Keys(wallClock())), slices.Sorted(maps.Keys(looks)))
}

// clockReaders are the functions of a file that read the clock, "" for what is outside
// of all.
func clockReaders(file *ast.File) []string {
	clock := importedAs(file, "time")
	var readers []string
	for _, declaration := range file.Decls {
		name := ""
		if function, ok := declaration.(*ast.FuncDecl); ok {
			name = function.Name.Name
		}
		ast.Inspect(declaration, func(node ast.Node) bool {
			if selector, ok := node.(*ast.SelectorExpr); ok && readsClock(selector, clock) {
				readers = append(readers, name)
			}
			return true
		})
	}
	return readers
}

func readsClock(selector *ast.SelectorExpr, clock string) bool {
	from, ok := selector.X.(*ast.Ident)
	return ok && from.Name == clock && slices.Contains([]string{"Now", "Since", "Until"}, selector.Sel.Name)
}

// importedAs is the name of a package in a file.
func importedAs(file *ast.File, path string) string {
	for _, imported := range file.Imports {
		if imported.Path.Value == `"`+path+`"` && imported.Name != nil {
			return imported.Name.Name
		}
	}
	return path
}
