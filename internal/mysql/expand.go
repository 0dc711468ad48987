package mysql

import "strings"

// ExpandRows repeats the one tuple of a single-row INSERT of gen/store, so that n rows go
// in one statement whose columns stay checked against the schema. The tuple is the
// text from the last "VALUES (" to the last ")".
func ExpandRows(insert string, n int) string {
	const values = "VALUES "
	start := strings.LastIndex(insert, values) + len(values)
	end := strings.LastIndexByte(insert, ')') + 1
	tuple := insert[start:end]
	var expanded strings.Builder
	expanded.Grow(end + (n-1)*(len(tuple)+2))
	expanded.WriteString(insert[:end])
	for range n - 1 {
		expanded.WriteString(", ")
		expanded.WriteString(tuple)
	}
	return expanded.String()
}
