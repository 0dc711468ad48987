package main

import (
	_ "embed"
	"strings"

	"github.com/flashsale-api/flashsale/internal/sale"
)

//go:embed page.md.tmpl
var pageTemplate string

// pageRow is a trigger with a cell for each status.
type pageRow struct {
	Trigger  sale.Trigger
	Sentence string
	Cells    []string
}

// page tells every pair of status and trigger.
func page(next machine) ([]byte, error) {
	rows := make([]pageRow, 0, len(sale.Triggers()))
	for _, trigger := range sale.Triggers() {
		row, err := rowOf(next, trigger)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return fill("page", pageTemplate, map[string]any{
		"Picture": pictureFile, "Statuses": sale.OrderStatuses(), "Rows": rows,
		"Late": sale.RefundLate, "Gone": sale.RefundUnitsGone, "Limit": sale.RefundLimit,
	})
}

func rowOf(next machine, trigger sale.Trigger) (pageRow, error) {
	known, err := wordsOf(trigger)
	if err != nil {
		return pageRow{}, err
	}
	row := pageRow{Trigger: trigger, Sentence: known.sentence}
	for _, status := range sale.OrderStatuses() {
		told, err := cell(next(status, trigger))
		if err != nil {
			return pageRow{}, err
		}
		row.Cells = append(row.Cells, told)
	}
	return row, nil
}

// cell tells one transition, line by line.
func cell(way sale.Transition) (string, error) {
	if way.Refusal != "" {
		return "refused: " + code(way.Refusal), nil
	}
	lines, err := tell(way)
	if err != nil {
		return "", err
	}
	if way.Else != "" {
		instead := sale.TooLate("")
		instead.To = way.Else
		other, err := tell(instead)
		if err != nil {
			return "", err
		}
		lines = append(append(lines, "or else"), other...)
	}
	return strings.Join(lines, "<br>"), nil
}

func tell(way sale.Transition) ([]string, error) {
	effect, err := effectOf(way.Step)
	if err != nil {
		return nil, err
	}
	lines := []string{"stays"}
	if way.To != "" {
		lines = []string{"**→ " + string(way.To) + "**"}
	}
	if effect != "" {
		lines = append(lines, effect)
	}
	if way.Reason != "" {
		lines = append(lines, "reason "+code(way.Reason))
	}
	if way.Outcome != "" {
		lines = append(lines, "answer "+code(way.Outcome))
	}
	if way.Tells != "" {
		lines = append(lines, "event "+code(way.Tells))
	}
	return lines, nil
}

func code[T ~string](name T) string { return "`" + string(name) + "`" }
