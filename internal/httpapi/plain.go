package httpapi

import (
	"reflect"
	"regexp/syntax"
	"unicode"

	"github.com/getkin/kin-openapi/openapi3"
)

// A plain check recognizes most of what follows a schema at a tenth of the cost of
// the whole check. What it does not recognize may still follow the schema: the whole
// check decides, and says what is wrong.
type (
	plainValue func(value any) bool
	plainText  func(text string) bool
)

// plainOf is a schema's plain check, nil when the schema says anything that such a
// check does not understand.
func plainOf(schema *openapi3.Schema) plainValue {
	switch {
	case !understood(schema):
		return nil
	case schema.Type.Is(openapi3.TypeString):
		return plainString(schema)
	case schema.Type.Is(openapi3.TypeInteger):
		return plainInteger(schema)
	case schema.Type.Is(openapi3.TypeArray) && schema.Items != nil:
		return plainArray(schema)
	case schema.Type.Is(openapi3.TypeObject):
		return plainObject(schema)
	default:
		return nil
	}
}

// understood says whether a schema has no keyword but those that plain checks heed,
// and those that allow no less without being heeded.
func understood(schema *openapi3.Schema) bool {
	rest := *schema
	rest.Title, rest.Description, rest.Example, rest.Default = "", "", nil, nil
	rest.Nullable, rest.AdditionalProperties = false, openapi3.AdditionalProperties{}
	rest.Type, rest.Properties, rest.Required, rest.Items = nil, nil, nil, nil
	rest.Pattern, rest.MinLength, rest.MaxLength = "", 0, nil
	rest.MinItems, rest.MaxItems, rest.Min, rest.Max = 0, nil, nil, nil
	if rest.Format == "int64" {
		rest.Format = ""
	}
	return reflect.DeepEqual(rest, openapi3.Schema{})
}

func plainString(schema *openapi3.Schema) plainValue {
	check := plainTextOf(schema)
	if check == nil {
		return nil
	}
	return func(value any) bool {
		text, ok := value.(string)
		return ok && check(text)
	}
}

// plainTextOf is plainOf for a schema of texts. A plain text is ASCII, each byte a
// character.
func plainTextOf(schema *openapi3.Schema) plainText {
	if !understood(schema) || !schema.Type.Is(openapi3.TypeString) || schema.Format != "" {
		return nil
	}
	pattern := schema.Pattern
	if pattern == "" {
		pattern = `^[\x00-\x7f]*$`
	}
	parts, ok := partsOf(pattern)
	if !ok {
		return nil
	}
	least, most := schema.MinLength, schema.MaxLength
	return func(text string) bool {
		length := uint64(len(text))
		return length >= least && (most == nil || length <= *most) && matches(parts, text)
	}
}

func plainInteger(schema *openapi3.Schema) plainValue {
	least, most := float64(-maxExactFloat), float64(maxExactFloat)
	if schema.Min != nil {
		least = max(least, *schema.Min)
	}
	if schema.Max != nil {
		most = min(most, *schema.Max)
	}
	return func(value any) bool {
		number, ok := value.(int64)
		return ok && float64(number) >= least && float64(number) <= most
	}
}

func plainArray(schema *openapi3.Schema) plainValue {
	check := plainOf(schema.Items.Value)
	if check == nil {
		return nil
	}
	least, most := schema.MinItems, schema.MaxItems
	return func(value any) bool {
		items, ok := value.([]any)
		length := uint64(len(items))
		if !ok || length < least || most != nil && length > *most {
			return false
		}
		for _, item := range items {
			if !check(item) {
				return false
			}
		}
		return true
	}
}

func plainObject(schema *openapi3.Schema) plainValue {
	checks := make(map[string]plainValue, len(schema.Properties))
	for name, property := range schema.Properties {
		if checks[name] = plainOf(property.Value); checks[name] == nil {
			return nil
		}
	}
	required := schema.Required
	return func(value any) bool {
		members, ok := value.(map[string]any)
		if !ok {
			return false
		}
		for _, name := range required {
			if _, given := members[name]; !given {
				return false
			}
		}
		for name, member := range members {
			if check := checks[name]; check == nil || !check(member) {
				return false
			}
		}
		return true
	}
}

// part is so many ASCII characters of one class.
type part struct {
	class       [unicode.MaxASCII + 1]bool
	least, most int // most is negative without a bound
}

// partsOf reads a pattern for whole texts that is a row of characters and classes, of
// which only the last may be repeated at will, so that nothing is ever tried twice.
func partsOf(pattern string) ([]part, bool) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || parsed.Op != syntax.OpConcat || len(parsed.Sub) < 3 {
		return nil, false
	}
	last := len(parsed.Sub) - 1
	if parsed.Sub[0].Op != syntax.OpBeginText || parsed.Sub[last].Op != syntax.OpEndText {
		return nil, false
	}
	var parts []part
	for i, sub := range parsed.Sub[1:last] {
		more, ok := partOf(sub)
		if !ok || i < last-2 && more[len(more)-1].least != more[len(more)-1].most {
			return nil, false
		}
		parts = append(parts, more...)
	}
	return parts, true
}

func partOf(expression *syntax.Regexp) ([]part, bool) {
	switch {
	case expression.Flags&syntax.FoldCase != 0:
		return nil, false
	case expression.Op == syntax.OpLiteral:
		var parts []part
		for _, char := range expression.Rune {
			parts = append(parts, classPart([]rune{char, char}, 1, 1))
		}
		return parts, true
	case expression.Op == syntax.OpCharClass:
		return []part{classPart(expression.Rune, 1, 1)}, true
	case len(expression.Sub) != 1 || expression.Sub[0].Op != syntax.OpCharClass:
		return nil, false
	case expression.Op == syntax.OpStar:
		return []part{classPart(expression.Sub[0].Rune, 0, -1)}, true
	case expression.Op == syntax.OpRepeat:
		return []part{classPart(expression.Sub[0].Rune, expression.Min, expression.Max)}, true
	default:
		return nil, false
	}
}

// classPart makes a part of ranges as package syntax gives them: pairs of first and
// last.
func classPart(ranges []rune, least, most int) part {
	p := part{least: least, most: most}
	for i := 0; i+1 < len(ranges); i += 2 {
		for char := ranges[i]; char <= min(ranges[i+1], unicode.MaxASCII); char++ {
			p.class[char] = true
		}
	}
	return p
}

// matches says whether a text is made of these parts, one after the other.
func matches(parts []part, text string) bool {
	at := 0
	for i := range parts {
		p := &parts[i]
		n := 0
		for at < len(text) && (p.most < 0 || n < p.most) && text[at] <= unicode.MaxASCII && p.class[text[at]] {
			at++
			n++
		}
		if n < p.least {
			return false
		}
	}
	return at == len(text)
}
