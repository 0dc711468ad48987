package stress

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// LoadReport is what a load came to. Requests are counted, except where a unit
// is named.
type LoadReport struct {
	URL      string  `json:"url"`
	Rate     int64   `json:"rate_per_s"`
	Seconds  float64 `json:"duration_s"` // as planned
	Buyers   int64   `json:"buyers"`
	Products int     `json:"products"`
	Stock    int64   `json:"stock"` // of each product

	Offered         int64            `json:"offered"` // Sent + NotSent
	Sent            int64            `json:"sent"`
	NotSent         int64            `json:"not_sent"` // MaxInFlight had no answer yet
	Accepted        int64            `json:"accepted"` // 201
	Refused         map[string]int64 `json:"refused"`  // 4xx by code
	Unavailable     map[string]int64 `json:"unavailable"`
	TransportErrors int64            `json:"transport_errors"`
	Other           map[string]int64 `json:"other"`            // by status
	Errors          []string         `json:"errors,omitempty"` // a few of the transport's

	AnsweredPerSecond float64 `json:"answered_per_s"` // until the last answer
	AcceptedPerSecond float64 `json:"accepted_per_s"`
	// All counts from when a request was to be sent, whatever came of it; Good is
	// the same of what was accepted; Late is how much later than that it was sent.
	All  LoadLatency `json:"latency_ms"`
	Good LoadLatency `json:"accepted_latency_ms"`
	Late LoadLatency `json:"sent_late_ms"`

	Timeline    []LoadPoint `json:"timeline"`
	Interrupted bool        `json:"interrupted"` // before all was offered
	Audit       LoadAudit   `json:"audit"`
}

// LoadLatency are quantiles in milliseconds.
type LoadLatency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

func latencyOf(h *histogram) LoadLatency {
	at := func(q float64) float64 { return millis(h.quantile(q)) }
	return LoadLatency{P50: at(0.5), P90: at(0.9), P99: at(0.99), P999: at(0.999), Max: millis(h.max)}
}

// report sums up. Nothing may be under way any more.
func (r *recorder) report(plan LoadPlan, elapsed time.Duration) LoadReport {
	sent := r.seen.offered - r.notSent
	return LoadReport{
		URL: plan.URL, Rate: plan.Rate, Seconds: plan.Duration.Seconds(),
		Buyers: plan.Buyers, Products: plan.Products, Stock: plan.Stock,
		Offered: r.seen.offered, Sent: sent, NotSent: r.notSent, Accepted: r.seen.accepted,
		Refused: r.refusals, Unavailable: r.unavailable, TransportErrors: r.broken, Other: r.others, Errors: r.samples,
		AnsweredPerSecond: float64(sent-r.broken) / elapsed.Seconds(),
		AcceptedPerSecond: float64(r.seen.accepted) / elapsed.Seconds(),
		All:               latencyOf(&r.seen.all), Good: latencyOf(&r.good), Late: latencyOf(&r.late),
	}
}

// Print writes the report for a person.
func (r LoadReport) Print(w io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%d requests a second for %v to %s: %d customers in turn, %d products with %d units each\n\n",
		r.Rate, time.Duration(r.Seconds*float64(time.Second)), r.URL, r.Buyers, r.Products, r.Stock)
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, r.rows())
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	text.WriteString(r.verdict())
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// rows are the two tables, cells ended by tabs.
func (r LoadReport) rows() string {
	var text strings.Builder
	row := func(name string, count int64) { fmt.Fprintf(&text, "%s\t%d\t\n", name, count) }
	group := func(name string, counts map[string]int64) {
		for _, label := range slices.Sorted(maps.Keys(counts)) {
			row(name+" "+label, counts[label])
		}
	}
	text.WriteString("REQUESTS\tCOUNT\t\n")
	row("offered", r.Offered)
	row("not sent", r.NotSent)
	row("sent", r.Sent)
	row("201", r.Accepted)
	group("refused", r.Refused)
	group("503", r.Unavailable)
	row("transport errors", r.TransportErrors)
	group("other", r.Other)
	text.WriteString("\nMILLISECONDS\tP50\tP90\tP99\tP99.9\tMAX\t\n")
	for _, line := range []struct {
		name string
		LoadLatency
	}{{"all", r.All}, {"201", r.Good}, {"sent late", r.Late}} {
		fmt.Fprintf(&text, "%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t\n",
			line.name, line.P50, line.P90, line.P99, line.P999, line.Max)
	}
	return text.String()
}

func (r LoadReport) verdict() string {
	var text strings.Builder
	fmt.Fprintf(&text, "\n%.1f answers and %.1f holds a second\n", r.AnsweredPerSecond, r.AcceptedPerSecond)
	for _, message := range r.Errors {
		fmt.Fprintf(&text, "transport error: %s\n", message)
	}
	if r.Interrupted {
		text.WriteString("interrupted before all was offered\n")
	}
	names := map[string]string{sourceSQL: "SQL", sourceAPI: "the API"}
	fmt.Fprintf(&text, "audit by %s: %d of %d units held, %d acknowledged", names[r.Audit.Source],
		r.Audit.Held, r.Audit.Units, r.Audit.Acknowledged)
	if r.Audit.Undecided > 0 {
		fmt.Fprintf(&text, ", %d with an unknown outcome", r.Audit.Undecided)
	}
	if r.Audit.Passed {
		return text.String() + ": balanced\n"
	}
	text.WriteString(": NOT BALANCED\n")
	for _, fault := range r.Audit.Faults {
		fmt.Fprintf(&text, "fault: %s\n", fault)
	}
	return text.String()
}
