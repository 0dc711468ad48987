package stress

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Figures are what a run has to come to, or came to.
type Figures struct {
	Available int64 `json:"available"`
	Holds     int64 `json:"holds"`
	Rejected  int64 `json:"rejected"`
	Errors    int64 `json:"errors"`
}

// Report is what a run came to.
type Report struct {
	ProductID string           `json:"product_id,omitempty"`
	Processes int              `json:"processes"`
	Stock     int64            `json:"stock"`
	Expected  Figures          `json:"expected"`
	Found     Figures          `json:"found"`
	Refusals  map[string]int64 `json:"refusals"` // by code
	Errors    []string         `json:"errors,omitempty"`
	// HeldInBooks are the units that an audit finds in holds, and Balanced whether the
	// law of conservation holds.
	HeldInBooks int64 `json:"held_in_books"`
	Balanced    bool  `json:"balanced"`
	Passed      bool  `json:"passed"`
}

// judge compares what the processes were told, and what the books say, with what
// has to be: every unit is held once, and everybody else is refused.
func judge(plan Plan, outcomes []Outcome, count Count) Report {
	holds := min(int64(plan.Processes), plan.Stock)
	report := Report{
		Processes:   plan.Processes,
		Stock:       plan.Stock,
		Expected:    Figures{Available: plan.Stock - holds, Holds: holds, Rejected: int64(plan.Processes) - holds},
		Found:       Figures{Available: count.Books.Available},
		Refusals:    map[string]int64{},
		HeldInBooks: count.Books.Held,
		Balanced:    count.Books.Balanced(),
	}
	for _, outcome := range outcomes {
		report.add(outcome)
	}
	report.Passed = report.Found == report.Expected && report.Balanced && report.HeldInBooks == holds
	return report
}

func (r *Report) add(outcome Outcome) {
	switch {
	case outcome.Created:
		r.Found.Holds++
	case outcome.Refusal != "":
		r.Found.Rejected++
		r.Refusals[outcome.Refusal]++
	default:
		r.Found.Errors++
		r.Errors = append(r.Errors, outcome.Error)
	}
}

// Print writes the report as a table for a person.
func (r Report) Print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var text strings.Builder
	fmt.Fprintf(&text, "FIGURE\tEXPECTED\tFOUND\n")
	row := func(name string, expected, found int64, note string) {
		fmt.Fprintf(&text, "%s\t%d\t%d%s\n", name, expected, found, note)
	}
	row("available", r.Expected.Available, r.Found.Available, "")
	row("holds", r.Expected.Holds, r.Found.Holds, "")
	row("rejected", r.Expected.Rejected, r.Found.Rejected, r.refusalNote())
	row("errors", r.Expected.Errors, r.Found.Errors, "")
	row("held in the books", r.Expected.Holds, r.HeldInBooks, "")
	if _, err := io.WriteString(table, text.String()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if _, err := io.WriteString(w, r.verdict()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func (r Report) refusalNote() string {
	notes := make([]string, 0, len(r.Refusals))
	for _, code := range slices.Sorted(maps.Keys(r.Refusals)) {
		notes = append(notes, fmt.Sprintf("%s %d", code, r.Refusals[code]))
	}
	if len(notes) == 0 {
		return ""
	}
	return " (" + strings.Join(notes, ", ") + ")"
}

func (r Report) verdict() string {
	var text strings.Builder
	for _, message := range slices.Compact(slices.Sorted(slices.Values(r.Errors))) {
		fmt.Fprintf(&text, "error: %s\n", message)
	}
	if r.Balanced {
		text.WriteString("balanced: yes\n")
	} else {
		text.WriteString("balanced: no\n")
	}
	return text.String()
}
