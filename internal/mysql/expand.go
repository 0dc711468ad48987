package mysql

import "strings"

// ExpandRows repeats the one tuple of a single-row INSERT of gen/store, so that n rows go
// in one statement whose columns stay checked against the schema. The tuple is what
// stands in parentheses after the last VALUES.
func ExpandRows(insert string, n int) string {
	const values = "VALUES "
	start := strings.LastIndex(insert, values) + len(values)
	end := start + parenthesized(insert[start:])
	tuple := insert[start:end]
	var expanded strings.Builder
	expanded.Grow(len(insert) + (n-1)*(len(tuple)+2))
	expanded.WriteString(insert[:end])
	for range n - 1 {
		expanded.WriteString(", ")
		expanded.WriteString(tuple)
	}
	expanded.WriteString(strings.TrimSuffix(insert[end:], "\n"))
	return expanded.String()
}

// parenthesized is how long the first expression in parentheses is that text begins with.
func parenthesized(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}
