//go:build linux

package bench

import (
	"fmt"
	"strings"
)

// The plot's measures, in its own units.
const (
	plotWidth = 760
	plotLeft  = 210 // where bars begin
	plotRight = 110 // for the numbers
	plotTop   = 64
	barHeight = 22
	barStep   = 36
)

// plotHead has the colours for light and for dark surroundings.
const plotHead = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">
<style>
  text { font: 14px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 16px }
  .note { font-size: 12px; fill: #59636e }
  .other { fill: #a5b1bd }
  .own { fill: #1f6feb }
  .limit { fill: none; stroke: #59636e; stroke-dasharray: 4 3 }
  .ends { stroke: #1f2328; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .note { fill: #9198a1 }
    .other { fill: #59636e }
    .own { fill: #4493f8 }
    .limit { stroke: #9198a1 }
    .ends { stroke: #f0f6fc }
  }
</style>
`

// bar is one contender's.
type bar struct {
	label, class        string
	middle, least, most float64
}

// bars are the contenders for the most holds a second, and what no service could
// pass.
func (r *report) bars() []bar {
	var bars []bar
	add := func(label, class string, of func(*round) float64) {
		if middle, least, most, found := r.spread(of); found {
			bars = append(bars, bar{label, class, middle, least, most})
		}
	}
	rate := func(name string) func(*round) float64 {
		return func(m *round) float64 { return pick(m, name, func(m *measure) float64 { return m.PerSecond }) }
	}
	ceiling := func(db string) func(*round) float64 {
		return func(m *round) float64 { return inverse(rate(db)(m), rate(nameRawHTTP)(m)) }
	}
	add(nameNaive, "other", rate(nameNaive))
	add(nameUnitRows, "other", rate(nameUnitRows))
	add(nameCoalescedID, "own", rate(nameCoalescedID))
	add("its ceiling", "limit", ceiling(nameRawDBID))
	add(nameCoalescedKey, "own", rate(nameCoalescedKey))
	add("its ceiling", "limit", ceiling(nameRawDBKey))
	return bars
}

// plot draws holds a second as an SVG.
func (r *report) plot() string {
	bars := r.bars()
	var most float64
	for _, b := range bars {
		most = max(most, b.most)
	}
	height := plotTop + len(bars)*barStep + 16
	const title = "Holds a second of one product"
	var svg strings.Builder
	fmt.Fprintf(&svg, plotHead, plotWidth, height, title)
	fmt.Fprintf(&svg, "<text class=\"title\" x=\"12\" y=\"26\">%s</text>\n", title)
	fmt.Fprintf(&svg, "<text class=\"note\" x=\"12\" y=\"46\">%d connections, %d processors for everything, default durability; "+
		"median of %d rounds, with minimum and maximum</text>\n", r.Connections, r.Processors, len(r.Rounds))
	for i, b := range bars {
		b.draw(&svg, plotTop+i*barStep, (plotWidth-plotLeft-plotRight)/most)
	}
	svg.WriteString("</svg>\n")
	return svg.String()
}

func (b bar) draw(svg *strings.Builder, y int, scale float64) {
	middle := y + barHeight/2
	at := func(value float64) float64 { return plotLeft + value*scale }
	fmt.Fprintf(svg, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", plotLeft-10, middle+5, b.label)
	fmt.Fprintf(svg, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>\n",
		b.class, plotLeft, y, max(b.middle*scale, 1), barHeight)
	fmt.Fprintf(svg, "<path class=\"ends\" d=\"M%.1f %dH%.1f\"/>\n", at(b.least), middle, at(b.most))
	fmt.Fprintf(svg, "<text x=\"%.1f\" y=\"%d\">%s</text>\n", at(b.most)+8, middle+5, short(b.middle))
}
