package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"

	"github.com/flashsale-api/flashsale/internal/sale"
)

//go:embed picture.svg.tmpl
var pictureTemplate string

// drawnArrow is an arrow with all that the template needs.
type drawnArrow struct {
	Name, Line, Path, Text string // Line and Text are classes
	Label                  []drawnLine
}

// drawnLine is a line of a label at its place.
type drawnLine struct {
	X, Y int
	Text string
}

// drawnBox is a status at its place.
type drawnBox struct {
	box
	Status sale.OrderStatus
}

// picture draws the machine. It fails when a status has no place or an arrow no
// route, and when a route has no arrow any more.
func picture(next machine) ([]byte, error) {
	found, err := arrows(next)
	if err != nil {
		return nil, err
	}
	drawn, err := drawArrows(found)
	if err != nil {
		return nil, err
	}
	places, err := placeBoxes()
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(found))
	for _, a := range found {
		names = append(names, a.String())
	}
	return fill("picture", pictureTemplate, map[string]any{
		"Boxes": places, "Arrows": drawn, "Description": strings.Join(names, "; ") + ".",
	})
}

func drawArrows(found []arrow) ([]drawnArrow, error) {
	ways := routes()
	drawn := make([]drawnArrow, 0, len(found))
	for _, a := range found {
		way, ok := ways[a.edge]
		if !ok {
			return nil, fmt.Errorf("no route for the arrow %q: add it to routes", a)
		}
		delete(ways, a.edge)
		drawn = append(drawn, drawArrow(a, way))
	}
	for e := range ways {
		return nil, fmt.Errorf("no arrow for the route from %q to %q: remove it from routes", e.from, e.to)
	}
	return drawn, nil
}

func drawArrow(a arrow, way route) drawnArrow {
	drawn := drawnArrow{Name: a.String(), Path: way.path, Line: "line", Text: "n"}
	if a.otherwise {
		drawn.Line = "line else"
	}
	if way.center {
		drawn.Text = "n c"
	}
	for i, text := range a.label {
		above := (len(a.label) - 1 - i) * lineHeight
		drawn.Label = append(drawn.Label, drawnLine{way.x, way.y - above, text})
	}
	return drawn
}

func placeBoxes() ([]drawnBox, error) {
	places := boxes()
	drawn := make([]drawnBox, 0, len(places))
	for _, status := range sale.OrderStatuses() {
		place, ok := places[status]
		if !ok {
			return nil, fmt.Errorf("no place for the status %s: add it to boxes", status)
		}
		drawn = append(drawn, drawnBox{place, status})
	}
	return drawn, nil
}

// fill gives a template its values.
func fill(name, text string, values any) ([]byte, error) {
	parsed, err := template.New(name).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing the template of the %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, values); err != nil {
		return nil, fmt.Errorf("filling the template of the %s: %w", name, err)
	}
	return out.Bytes(), nil
}
