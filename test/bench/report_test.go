//go:build linux

package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The names of what is measured.
const (
	nameNaive        = "naive"
	nameCoalescedID  = "coalesced, hold-id keys"
	nameCoalescedKey = "coalesced, arbitrary keys"
	nameHoldsAgain   = "coalesced, once more"
	nameUnitRows     = "unit-rows"
	nameRawHTTP      = "raw-http"
	nameRawDBID      = "raw-db, no key rows"
	nameRawDBKey     = "raw-db, key rows"
	nameOneNaive     = "one connection, naive"
	nameOneCoalesced = "one connection, coalesced"
	nameRead         = "cached read"
	nameBareRead     = "the same bytes, bare net/http"
	nameBareAgain    = "the same bytes, once more"
	nameSoldOut      = "sold-out refusals"
	nameFlow         = "hold, order, paid"
	nameRawFlow      = "raw-db, hold, order, paid"
	nameSellOut      = "until sold out"
	nameOverNaive    = "open, 10 x naive's peak"
	nameOverOwn      = "open, 2 x its own peak"
	nameSlow         = "open, slowed database"
	nameFew          = "holds, few old lines"
	nameMany         = "holds, many old lines"
	nameWaiting      = "waiting requests"

	reportFile = "engine.json"
)

// report is a whole run.
type report struct {
	Processor    string   `json:"processor"`
	Processors   int      `json:"processors"`
	MySQL        string   `json:"mysql"`
	Go           string   `json:"go"`
	Wanted       int      `json:"rounds_wanted"`
	Window       string   `json:"window"`
	Connections  int      `json:"connections"`
	OldLines     int64    `json:"old_lines"`
	Units        int64    `json:"units"`
	WaitingBytes float64  `json:"waiting_bytes,omitempty"`
	Rounds       []*round `json:"rounds"`
}

// round is everything measured once.
type round struct {
	Number           int                 `json:"number"`
	Began            time.Time           `json:"began"`
	DiskMicroseconds float64             `json:"fdatasync_microseconds"`
	LoadAverage      float64             `json:"load_average"`
	Measures         map[string]*measure `json:"measures"`
}

// measure is what one contender came to in one round. Times are in milliseconds
// and those of successes.
type measure struct {
	PerSecond float64            `json:"per_second"`
	P50       float64            `json:"p50_ms"`
	P99       float64            `json:"p99_ms"`
	Statuses  map[int]int        `json:"statuses"`
	Processor usage              `json:"processor"`
	Numbers   map[string]float64 `json:"numbers,omitempty"`
}

func measureOf(l *load, success int) *measure {
	return &measure{
		PerSecond: l.perSecond(success), P50: l.quantile(0.5), P99: l.quantile(0.99),
		Statuses: l.all, Processor: l.processor,
	}
}

func (m *measure) line(name string) string {
	text := fmt.Sprintf("%-30s %8.0f/s  p50 %7.2f ms  p99 %7.2f ms  load %2.0f%% server %2.0f%% mysql %2.0f%% machine %3.0f%%", name,
		m.PerSecond, m.P50, m.P99, 100*m.Processor.Load, 100*m.Processor.Server, 100*m.Processor.Database, 100*m.Processor.Machine)
	for _, name := range slices.Sorted(maps.Keys(m.Numbers)) {
		text += fmt.Sprintf("  %s %s", name, short(m.Numbers[name]))
	}
	return text
}

// newReport begins a report, or goes on with the one that is there.
func newReport(folder string, resume bool, rounds int, size size) (*report, error) {
	r := &report{}
	if resume {
		text, err := os.ReadFile(filepath.Join(folder, reportFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			if err := json.Unmarshal(text, r); err != nil {
				return nil, fmt.Errorf("read the report: %w", err)
			}
		}
	}
	r.Processor, r.Processors, r.Go = processor(), runtime.NumCPU(), runtime.Version()
	r.Wanted, r.Window, r.Connections = rounds, size.window.String(), size.connections
	r.OldLines, r.Units = size.oldLines, size.units
	return r, nil
}

func (r *report) save(folder string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	return os.WriteFile(filepath.Join(folder, reportFile), append(text, '\n'), 0o600)
}

// publish writes the tables and the plot, and shows the tables.
func (r *report) publish(folder string, screen io.Writer) error {
	text := r.figures() + "\n" + r.measures() + "\n" + r.machine()
	fmt.Fprint(screen, "\n"+text+"\n")
	if err := os.WriteFile(filepath.Join(folder, "engine.md"), []byte(text), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "engine.svg"), []byte(r.plot()), 0o600)
}

// figure is one number that says how good the engine is, of one round.
type figure struct {
	name  string
	goal  string
	value func(rate, p50, p99 of) float64
	more  func(m *round) float64 // for what is neither a rate nor a time
}

// of gives one number of a contender, NaN when it was not measured.
type of func(name string) float64

func inverse(a, b float64) float64 { return 1 / (1/a + 1/b) }

// flowCeiling is what whole flows could come to if the engine itself cost nothing.
func flowCeiling(rate of) float64 {
	return inverse(rate(nameRawFlow), rate(nameRawHTTP)/flowRequests)
}

func (r *report) list() []figure {
	perUnit := float64(r.Units)
	return []figure{
		{name: "`coalesced` / ceiling, hold-id keys", goal: "≥ 0.65", value: func(rate, _, _ of) float64 {
			return rate(nameCoalescedID) / inverse(rate(nameRawDBID), rate(nameRawHTTP))
		}},
		{name: "`coalesced` / ceiling, arbitrary keys", goal: "≥ 0.65", value: func(rate, _, _ of) float64 {
			return rate(nameCoalescedKey) / inverse(rate(nameRawDBKey), rate(nameRawHTTP))
		}},
		{name: "`coalesced` / `naive`, hold-id keys", goal: "≥ 20", value: func(rate, _, _ of) float64 {
			return rate(nameCoalescedID) / rate(nameNaive)
		}},
		{name: "`coalesced`, arbitrary keys / `naive`", goal: "≥ 15", value: func(rate, _, _ of) float64 {
			return rate(nameCoalescedKey) / rate(nameNaive)
		}},
		{name: "`coalesced` / `unit-rows`", goal: "≥ 5", value: func(rate, _, _ of) float64 {
			return rate(nameCoalescedID) / rate(nameUnitRows)
		}},
		{name: "one connection: p50 of `coalesced` / `naive`", goal: "≤ 1.1", value: func(_, p50, _ of) float64 {
			return p50(nameOneCoalesced) / p50(nameOneNaive)
		}},
		{name: "commits per 1,000 holds, hold-id keys", goal: "≤ 25", more: numberOf(nameCoalescedID, "commits per 1,000")},
		{name: "commits per 1,000 holds, arbitrary keys", goal: "≤ 25", more: numberOf(nameCoalescedKey, "commits per 1,000")},
		{name: "cached read / the same bytes from bare net/http", goal: "≥ 0.8", value: func(rate, _, _ of) float64 {
			return rate(nameRead) / rate(nameBareRead)
		}},
		{name: "noise: the same bytes once more / the same bytes", goal: "1", value: func(rate, _, _ of) float64 {
			return rate(nameBareAgain) / rate(nameBareRead)
		}},
		{name: "noise: `coalesced` once more / `coalesced`", goal: "1", value: func(rate, _, _ of) float64 {
			return rate(nameHoldsAgain) / rate(nameCoalescedID)
		}},
		{name: "MySQL statements per 1,000 cached reads", goal: "0", more: numberOf(nameRead, "statements per 1,000")},
		{name: "Redis commands per 1,000 cached reads", goal: "0", more: numberOf(nameRead, "Redis commands per 1,000")},
		{name: "10 × `naive`'s peak offered: goodput / what can be had", goal: "≥ 0.9", more: goodput(nameOverNaive)},
		{name: "the same: p99 of the accepted, ms", goal: "≤ 250", value: func(_, _, p99 of) float64 { return p99(nameOverNaive) }},
		{name: "2 × its own peak offered: goodput / peak", goal: "≥ 0.9", more: goodput(nameOverOwn)},
		{name: "the same: p99 of the accepted, ms", goal: "≤ 250", value: func(_, _, p99 of) float64 { return p99(nameOverOwn) }},
		{name: "the same: of the offer, what was never sent", goal: "0", more: numberOf(nameOverOwn, numberUnsent)},
		{name: "the same: memory of the server at most, MiB", goal: "bounded", more: numberOf(nameOverOwn, "memory MiB")},
		{name: "database slowed to a tenth: answers other than 201 and 503", goal: "0", more: numberOf(nameSlow, numberStrange)},
		{name: "the same: the latest answer, ms", goal: "≤ 2,000", more: numberOf(nameSlow, numberLatest)},
		{name: "sold-out refusals / cached reads", goal: "≥ 0.5", value: func(rate, _, _ of) float64 {
			return rate(nameSoldOut) / rate(nameRead)
		}},
		{name: "time until sold out / (units / peak)", goal: "≤ 1.3", more: func(m *round) float64 {
			sold, peak := m.Measures[nameSellOut], m.Measures[nameCoalescedID]
			if sold == nil || peak == nil {
				return math.NaN()
			}
			return sold.Numbers["seconds until sold out"] / (perUnit / peak.PerSecond)
		}},
		{name: "whole flows / holds", goal: "≥ 0.25", value: func(rate, _, _ of) float64 {
			return rate(nameFlow) / rate(nameCoalescedID)
		}},
		{name: "whole flows / their ceiling", goal: "–", value: func(rate, _, _ of) float64 {
			return rate(nameFlow) / flowCeiling(rate)
		}},
		{name: "the ceiling of whole flows / that of holds", goal: "–", value: func(rate, _, _ of) float64 {
			return flowCeiling(rate) / inverse(rate(nameRawDBID), rate(nameRawHTTP))
		}},
		{name: fmt.Sprintf("cost of a hold with %s old lines / with 10³", power(r.OldLines)), goal: "≤ 1.25", value: func(rate, _, _ of) float64 {
			return rate(nameFew) / rate(nameMany)
		}},
		{name: "the same: rows read per 1,000 holds", goal: "equal", more: func(m *round) float64 {
			return numberOf(nameMany, "rows read per 1,000")(m) / numberOf(nameFew, "rows read per 1,000")(m)
		}},
	}
}

func power(n int64) string { return fmt.Sprintf("%.0e", float64(n)) }

// numberOf gives one of the further numbers of a contender.
func numberOf(contender, name string) func(m *round) float64 {
	return func(m *round) float64 {
		if of := m.Measures[contender]; of != nil {
			return of.Numbers[name]
		}
		return math.NaN()
	}
}

// goodput is what was accepted of what could have been: the offer, or the peak.
func goodput(name string) func(m *round) float64 {
	return func(m *round) float64 {
		over, peak := m.Measures[name], m.Measures[nameCoalescedID]
		if over == nil || peak == nil {
			return math.NaN()
		}
		return over.PerSecond / min(over.Numbers["offered a second"], peak.PerSecond)
	}
}

func (f figure) of(m *round) float64 {
	if f.more != nil {
		return f.more(m)
	}
	from := func(get func(*measure) float64) of {
		return func(name string) float64 {
			if measured := m.Measures[name]; measured != nil {
				return get(measured)
			}
			return math.NaN()
		}
	}
	return f.value(
		from(func(m *measure) float64 { return m.PerSecond }),
		from(func(m *measure) float64 { return m.P50 }),
		from(func(m *measure) float64 { return m.P99 }))
}

// spread is the median of what was measured, and its ends.
func (r *report) spread(of func(*round) float64) (middle, least, most float64, found bool) {
	var values []float64
	for _, m := range r.Rounds {
		if value := of(m); !math.IsNaN(value) && !math.IsInf(value, 0) {
			values = append(values, value)
		}
	}
	if len(values) == 0 {
		return 0, 0, 0, false
	}
	return median(values), slices.Min(values), slices.Max(values), true
}

// figures are the medians of the rounds' ratios.
func (r *report) figures() string {
	rows := [][]string{{"figure", "goal", "median", "min", "max"}}
	for _, f := range r.list() {
		if middle, least, most, found := r.spread(f.of); found {
			rows = append(rows, []string{f.name, f.goal, short(middle), short(least), short(most)})
		}
	}
	if r.WaitingBytes > 0 {
		kib := short(r.WaitingBytes / 1024)
		rows = append(rows, []string{"memory of a waiting request beyond its idle connection, KiB", "≤ 16", kib, kib, kib})
	}
	return table(rows)
}

// measures are the medians of what each contender came to.
func (r *report) measures() string {
	rows := [][]string{{"measured", "a second", "min", "max", "p50 ms", "p99 ms", "load", "server", "MySQL", "machine"}}
	for _, name := range names() {
		rate := func(m *round) float64 { return pick(m, name, func(m *measure) float64 { return m.PerSecond }) }
		middle, least, most, found := r.spread(rate)
		if !found {
			continue
		}
		row := []string{name, short(middle), short(least), short(most)}
		for _, get := range []func(*measure) float64{
			func(m *measure) float64 { return m.P50 },
			func(m *measure) float64 { return m.P99 },
		} {
			value, _, _, _ := r.spread(func(m *round) float64 { return pick(m, name, get) })
			if value == 0 {
				row = append(row, "–") // nobody waited for an answer
				continue
			}
			row = append(row, short(value))
		}
		for _, get := range []func(*measure) float64{
			func(m *measure) float64 { return m.Processor.Load },
			func(m *measure) float64 { return m.Processor.Server },
			func(m *measure) float64 { return m.Processor.Database },
			func(m *measure) float64 { return m.Processor.Machine },
		} {
			value, _, _, _ := r.spread(func(m *round) float64 { return pick(m, name, get) })
			row = append(row, fmt.Sprintf("%.0f %%", 100*value))
		}
		rows = append(rows, row)
	}
	return table(rows)
}

func pick(m *round, name string, get func(*measure) float64) float64 {
	if measured := m.Measures[name]; measured != nil {
		return get(measured)
	}
	return math.NaN()
}

func names() []string {
	return []string{
		nameNaive, nameUnitRows, nameCoalescedID, nameHoldsAgain, nameCoalescedKey, nameRawHTTP, nameRawDBID, nameRawDBKey,
		nameOneNaive, nameOneCoalesced, nameRead, nameBareRead, nameBareAgain, nameSoldOut, nameFlow, nameRawFlow, nameSellOut,
		nameOverNaive, nameOverOwn, nameSlow, nameFew, nameMany,
	}
}

// machine says what it was measured on and how quiet it was.
func (r *report) machine() string {
	disk, diskLeast, diskMost, _ := r.spread(func(m *round) float64 { return m.DiskMicroseconds })
	busy, busyLeast, busyMost, _ := r.spread(func(m *round) float64 { return m.LoadAverage })
	return fmt.Sprintf("%d processors (%s), MySQL %s with default durability and a buffer pool of 1 GiB, %s; %d rounds, %s each, %d connections; "+
		"fdatasync %s µs (%s to %s), load average before a round %s (%s to %s).\n",
		r.Processors, r.Processor, r.MySQL, r.Go, len(r.Rounds), r.Window, r.Connections,
		short(disk), short(diskLeast), short(diskMost), short(busy), short(busyLeast), short(busyMost))
}

// short shows three digits that count.
func short(value float64) string {
	switch magnitude := math.Abs(value); {
	case magnitude >= 100:
		return thousands(int64(math.Round(value)))
	case magnitude >= 10:
		return strconv.FormatFloat(value, 'f', 1, 64)
	default:
		return strconv.FormatFloat(value, 'f', 2, 64)
	}
}

func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// table is Markdown that a terminal shows well, too. The first row is its head;
// what follows the first column stands on the right.
func table(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				text.WriteString("| " + cell + space)
			} else {
				text.WriteString(" | " + space + cell)
			}
		}
		text.WriteString(" |\n")
		if n == 0 {
			for i, width := range widths {
				if i == 0 {
					text.WriteString("|" + strings.Repeat("-", width+2))
				} else {
					text.WriteString("|" + strings.Repeat("-", width+1) + ":")
				}
			}
			text.WriteString("|\n")
		}
	}
	return text.String()
}
