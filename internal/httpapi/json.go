package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// maxDepth bounds how deep the values of a body may nest. The contract's
	// own need three levels.
	maxDepth = 32

	// maxValues bounds the values of a body, each object and each array among them. The
	// contract's own need less than a hundred; to find out what is wrong with each of
	// twenty thousand takes a tenth of a second.
	maxValues = 1000

	// maxExactFloat is the largest magnitude below which every integer is a
	// float64 of its own.
	maxExactFloat = 1 << 53
)

// decodeJSON reads exactly one JSON value, in UTF-8 and with each member named
// once, into maps, slices, strings, bools, nil, int64 for whole numbers and
// float64 for others. A number out of every range stays a json.Number, which no
// schema accepts. The error is CodeMalformed.
func decodeJSON(data []byte) (any, error) {
	switch {
	case len(data) == 0:
		return nil, malformed("The body is empty.")
	case !utf8.Valid(data):
		return nil, malformed("The body is not UTF-8.")
	case !json.Valid(data):
		return nil, malformed("The body is not valid JSON.")
	}
	r := validJSON{data: data}
	return r.value(maxDepth)
}

// validJSON reads a text that was found to be one JSON value: it meets nothing that
// may not stand where it looks.
type validJSON struct {
	data   []byte
	at     int
	values int
}

func (r *validJSON) value(depth int) (any, error) {
	if r.values++; r.values > maxValues {
		return nil, malformed(fmt.Sprintf("The body has more than %d values.", maxValues))
	}
	switch r.peek() {
	case '{', '[':
		if depth == 0 {
			return nil, malformed(fmt.Sprintf("The body nests more than %d levels deep.", maxDepth))
		}
		if r.data[r.at] == '[' {
			return r.array(depth - 1)
		}
		return r.object(depth - 1)
	case '"':
		return r.text()
	case 't':
		r.at += len("true")
		return true, nil
	case 'f':
		r.at += len("false")
		return false, nil
	case 'n':
		r.at += len("null")
		return nil, nil
	default:
		return r.number(), nil
	}
}

// peek gives the next character that is no space, and stays before it.
func (r *validJSON) peek() byte {
	for {
		switch char := r.data[r.at]; char {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return char
		}
	}
}

// more says whether a member or an item follows, and steps over what is before it:
// the bracket that opens or the comma. It steps over a closing bracket, too.
func (r *validJSON) more(end byte) bool {
	separator := r.peek()
	r.at++
	if separator == end {
		return false
	}
	if separator != ',' && r.peek() == end {
		r.at++
		return false
	}
	return true
}

func (r *validJSON) array(depth int) (any, error) {
	items := []any{}
	for r.more(']') {
		item, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func (r *validJSON) object(depth int) (any, error) {
	members := map[string]any{}
	for r.more('}') {
		r.peek()
		name, err := r.text()
		if err != nil {
			return nil, err
		}
		if _, twice := members[name]; twice {
			return nil, malformed(fmt.Sprintf("An object of the body has the member %q twice.", name))
		}
		r.peek()
		r.at++ // the colon
		member, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		members[name] = member
	}
	return members, nil
}

// text reads a string. One with escapes is left to encoding/json, which would take half of a
// surrogate pair for another character.
func (r *validJSON) text() (string, error) {
	start, escaped := r.at, false
	for r.at++; r.data[r.at] != '"'; r.at++ {
		if r.data[r.at] == '\\' {
			escaped = true
			r.at++
		}
	}
	r.at++
	quoted := r.data[start:r.at]
	if !escaped {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	if hasHalfPair(quoted) {
		return "", malformed("A text of the body has half of a surrogate pair.")
	}
	var text string
	_ = json.Unmarshal(quoted, &text) // it is valid
	return text, nil
}

// hasHalfPair says whether a valid string's escapes have a surrogate without its other half.
func hasHalfPair(quoted []byte) bool {
	var high rune
	for at := 0; at < len(quoted); at++ {
		var unit rune
		if quoted[at] == '\\' {
			at++
			if quoted[at] == 'u' {
				unit = hexOf(quoted[at+1 : at+5])
				at += 4
			}
		}
		switch {
		case high != 0 && utf16.DecodeRune(high, unit) == unicode.ReplacementChar:
			return true
		case high != 0:
			high = 0
		case utf16.IsSurrogate(unit):
			high = unit
		}
	}
	return high != 0
}

func hexOf(digits []byte) rune {
	value, _ := strconv.ParseUint(string(digits), 16, 16) // they are valid
	return rune(value)
}

func (r *validJSON) number() any {
	start := r.at
	for r.at < len(r.data) && bytes.IndexByte([]byte("+-.0123456789Ee"), r.data[r.at]) >= 0 {
		r.at++
	}
	return plainNumber(json.Number(r.data[start:r.at]))
}

// plainNumber reads 1, 1.0 and 1e0 as the same whole number.
func plainNumber(number json.Number) any {
	if whole, err := strconv.ParseInt(string(number), 10, 64); err == nil {
		return whole
	}
	float, err := number.Float64()
	switch {
	case err != nil:
		return number
	case float == math.Trunc(float) && math.Abs(float) < maxExactFloat:
		return int64(float)
	default:
		return float
	}
}

func malformed(detail string) *sale.Error { return sale.Fail(sale.CodeMalformed, detail) }
