package stress

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// The plot's places, in pixels.
const (
	plotWidth, plotHeight  = 960, 580
	plotLeft, plotRight    = 70, 936
	rateTop, rateBottom    = 92, 292
	delayTop, delayBottom  = 356, 530
	legendStep, legendLine = 120, 26
	rateTicks, timeTicks   = 5, 10 // at most, but for the one that rounds up
)

// plotStyle has colours that stay apart for the colour-blind, on light and on
// dark; the lines are dashed differently as well.
const plotStyle = `<style>
text{font:12px system-ui,sans-serif;fill:var(--ink)}.title{font-size:16px;font-weight:600}.head{font-weight:600}.y{text-anchor:end}.x{text-anchor:middle}
svg{--paper:#fff;--ink:#24292f;--grid:#d8dee4;--offered:#6e7781;--accepted:#0072b2;--refused:#b35900;--failed:#c2185b;--p50:#00704f;--p99:#8250df}
@media(prefers-color-scheme:dark){svg{--paper:#0d1117;--ink:#e6edf3;--grid:#30363d;--offered:#9198a1;--accepted:#58b7f0;--refused:#f0a050;--failed:#ff7eb0;--p50:#3fcf9f;--p99:#c8a2ff}}
.paper{fill:var(--paper)}.grid{stroke:var(--grid)}.line{fill:none;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
.offered{stroke:var(--offered);stroke-dasharray:2 5}.accepted{stroke:var(--accepted)}.refused{stroke:var(--refused);stroke-dasharray:8 4}.failed{stroke:var(--failed);stroke-dasharray:8 4 2 4}
.p50{stroke:var(--p50)}.p99{stroke:var(--p99);stroke-dasharray:8 4}
</style>
`

// axis turns values into pixels.
type axis struct {
	low, high  float64 // the values at its ends
	start, end float64 // the ends, in pixels
	log        bool
	ticks      []float64
}

func (a axis) at(value float64) float64 {
	if a.log {
		value = math.Log10(max(value, math.Pow(10, a.low)))
	}
	return a.start + (value-a.low)/(a.high-a.low)*(a.end-a.start)
}

// timeAxis goes from 0 to high.
func timeAxis(high, start, end float64) axis {
	high = max(high, 1)
	return linearAxis(high, niceStep(high/timeTicks), start, end)
}

// rateAxis goes from 0 to the next tick after high.
func rateAxis(high, start, end float64) axis {
	high = max(high, 1)
	step := niceStep(high / rateTicks)
	return linearAxis(math.Ceil(high/step)*step, step, start, end)
}

func linearAxis(high, step, start, end float64) axis {
	a := axis{high: high, start: start, end: end}
	for i := 0.0; i*step <= a.high*(1+1e-9); i++ {
		a.ticks = append(a.ticks, i*step)
	}
	return a
}

// niceStep is the next 1, 2 or 5 times a power of ten.
func niceStep(least float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= least {
			return factor * power
		}
	}
	return 10 * power
}

// logAxis has a tick for each power of ten around low and high.
func logAxis(low, high, start, end float64) axis {
	a := axis{low: math.Floor(math.Log10(low)), high: math.Ceil(math.Log10(high)), start: start, end: end, log: true}
	if a.low == a.high {
		a.high++
	}
	for power := a.low; power <= a.high; power++ {
		a.ticks = append(a.ticks, math.Pow(10, power))
	}
	return a
}

// series is one line of a panel. value says false where there is none.
type series struct {
	class, name string
	value       func(LoadPoint) (float64, bool)
}

func rateSeries() []series {
	of := func(name string, value func(LoadPoint) float64) series {
		return series{class: name, name: name, value: func(p LoadPoint) (float64, bool) { return value(p), true }}
	}
	return []series{
		of("offered", func(p LoadPoint) float64 { return p.Offered }),
		of("accepted", func(p LoadPoint) float64 { return p.Accepted }),
		of("refused", func(p LoadPoint) float64 { return p.Refused }),
		of("failed", func(p LoadPoint) float64 { return p.Failed }),
	}
}

func delaySeries() []series {
	of := func(name string, value func(LoadPoint) *float64) series {
		return series{class: name, name: name, value: func(p LoadPoint) (float64, bool) {
			if found := value(p); found != nil {
				return *found, true
			}
			return 0, false
		}}
	}
	return []series{
		of("p50", func(p LoadPoint) *float64 { return p.P50 }),
		of("p99", func(p LoadPoint) *float64 { return p.P99 }),
	}
}

// extent is the least and the greatest of all values, 1 and 1 when there are none.
func extent(points []LoadPoint, lines []series) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, line := range lines {
		for _, point := range points {
			if value, ok := line.value(point); ok {
				low, high = min(low, value), max(high, value)
			}
		}
	}
	if high < low {
		return 1, 1
	}
	return low, high
}

// Plot writes the timeline as an SVG: rates over time, and latencies, which have
// a logarithmic axis.
func (r LoadReport) Plot(w io.Writer) error {
	end := 0.0
	if len(r.Timeline) > 0 {
		end = r.Timeline[len(r.Timeline)-1].To
	}
	x := timeAxis(end, plotLeft, plotRight)
	_, highest := extent(r.Timeline, rateSeries())
	shortest, longest := extent(r.Timeline, delaySeries())
	var text strings.Builder
	title := fmt.Sprintf("%d requests a second offered to %s", r.Rate, r.URL)
	fmt.Fprintf(&text, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`+"\n<title>%s</title>\n%s",
		plotWidth, plotHeight, escaped(title), plotStyle)
	fmt.Fprintf(&text, `<rect class="paper" width="%d" height="%d"/>`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&text, `<text class="title" x="%d" y="34">%s</text>`+"\n", plotLeft, escaped(title))
	panel{"requests a second", x, rateAxis(highest, rateBottom, rateTop), rateSeries()}.draw(&text, r.Timeline)
	panel{
		"latency from the intended sending, ms", x,
		logAxis(max(shortest, 0.001), max(longest, 0.001), delayBottom, delayTop), delaySeries(),
	}.draw(&text, r.Timeline)
	fmt.Fprintf(&text, `<text class="x" x="%d" y="%d">seconds</text>`+"\n</svg>\n", (plotLeft+plotRight)/2, plotHeight-8)
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("writing the plot: %w", err)
	}
	return nil
}

func escaped(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a strings.Builder takes everything
	return out.String()
}

// panel is one of the plot's diagrams.
type panel struct {
	head  string
	x, y  axis
	lines []series
}

func (p panel) draw(out *strings.Builder, points []LoadPoint) {
	p.grid(out)
	head := p.y.end - legendLine/2
	fmt.Fprintf(out, `<text class="head" x="%d" y="%.1f">%s</text>`+"\n", plotLeft, head, p.head)
	for i, line := range p.lines {
		left := plotRight - legendStep*(len(p.lines)-i) + legendLine
		fmt.Fprintf(out, `<path class="line %s" d="M%d %.1fh%d"/><text x="%d" y="%.1f">%s</text>`+"\n",
			line.class, left, head-4, legendLine, left+legendLine+6, head, line.name)
		fmt.Fprintf(out, `<path class="line %s" d="%s"/>`+"\n", line.class, p.path(line, points))
	}
}

func (p panel) grid(out *strings.Builder) {
	for _, tick := range p.y.ticks {
		y := p.y.at(tick)
		fmt.Fprintf(out, `<path class="grid" d="M%d %.1fH%d"/><text class="y" x="%d" y="%.1f">%s</text>`+"\n",
			plotLeft, y, plotRight, plotLeft-8, y+4, number(tick))
	}
	for _, tick := range p.x.ticks {
		x := p.x.at(tick)
		fmt.Fprintf(out, `<path class="grid" d="M%.1f %.1fV%.1f"/><text class="x" x="%.1f" y="%.1f">%s</text>`+"\n",
			x, p.y.start, p.y.end, x, p.y.start+18, number(tick))
	}
}

func number(value float64) string { return strconv.FormatFloat(value, 'g', 6, 64) }

// path goes through the middles of the points' times, with a gap where there is
// no value. The h0 shows a point that has no neighbours.
func (p panel) path(line series, points []LoadPoint) string {
	var out strings.Builder
	next := "M%.1f %.1fh0"
	for _, point := range points {
		value, ok := line.value(point)
		if !ok {
			next = "M%.1f %.1fh0"
			continue
		}
		fmt.Fprintf(&out, next, p.x.at((point.From+point.To)/2), p.y.at(value))
		next = "L%.1f %.1f"
	}
	return out.String()
}
