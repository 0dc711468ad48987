package chaos

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
)

// nonsense is what nobody should send.
type nonsense struct{ dice *rand.Rand }

func (n nonsense) often() bool  { return n.dice.IntN(3) == 0 }
func (n nonsense) seldom() bool { return n.dice.IntN(16) == 0 }
func (n nonsense) rarely() bool { return n.dice.IntN(40) == 0 }

// word is one of a few, so that some come again.
func (n nonsense) word(prefix string) string { return prefix + strconv.Itoa(n.dice.IntN(500)) }

// junk is text of no form.
func (n nonsense) junk() string {
	texts := []string{
		"", " ", "null", "0", "-1", "1e400", "0x10", "NaN", "9223372036854775808", "true", "[]", "{}", "..", "%", "%00", "\x00", "\r\n",
		"\xff\xfe", "\xed\xa0\x80", "\u202e\u0000", "😀", "İ", "'; DROP TABLE products; --", `"`, `\`, "${jndi:x}", "%s%n", "prod_", "hold_8zzzzzzzzzzzzzzzzzzzzzzzzz",
		"ord_0123456789ABCDEFGHJKMNPQRS", "Mg==", "cHJvZF8", `W/"8"`, `"8", *`, strings.Repeat("x", 300), strings.Repeat("é", 600), strings.Repeat("😀", 300),
	}
	if n.seldom() {
		garbage := make([]byte, n.dice.IntN(64))
		for i := range garbage {
			garbage[i] = byte(n.dice.Uint32())
		}
		return string(garbage)
	}
	return texts[n.dice.IntN(len(texts))]
}

// headerText leaves out what a client cannot send in a header.
func (n nonsense) headerText(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text))
}

// anyJSON is a value of any kind, or nearly one.
func (n nonsense) anyJSON() string {
	values := []string{
		"null", "true", "0", "-0", "-1", "1.5", "1e2", "1E400", "-1e-400", "00", "+1", ".5", "1.", "0x1", "NaN", "Infinity", "9223372036854775807",
		"9223372036854775808", "18446744073709551616", `""`, `"\ud800"`, `"\u0000"`, `"\x"`, "\"\xff\"", "[]", "{}", "[{}]", `{"":{}}`, "[null]", "", "'a'",
		strings.Repeat("9", 400), `{"a":1,"a":2}`, deep("[", "]", 33), deep(`{"a":`, "}", 33), deep("[", "]", 20_000),
	}
	return values[n.dice.IntN(len(values))]
}

// deep nests values.
func deep(open, shut string, levels int) string {
	return strings.Repeat(open, levels) + "1" + strings.Repeat(shut, levels)
}

// quoted is a JSON string, with its bytes as they are where they break it.
func (n nonsense) quoted(text string) string {
	if n.rarely() {
		return `"` + text + `"`
	}
	escaped, err := json.Marshal(text)
	if err != nil {
		return `""`
	}
	return string(escaped)
}

// broken does something to a whole body, now and then.
func (n nonsense) broken(body string) string {
	if !n.seldom() || body == "" {
		return body
	}
	at := n.dice.IntN(len(body))
	switch n.dice.IntN(8) {
	case 0:
		return body[:at]
	case 1:
		return body[at:]
	case 2:
		return body[:at] + string([]byte{byte(n.dice.Uint32())}) + body[at+1:]
	case 3:
		return body + body
	case 4:
		return body + strings.Repeat(" ", 64<<10)
	case 5:
		return "\ufeff" + body
	case 6:
		return strings.Repeat(" ", 60_000) + body
	default:
		return body[:at] + n.junk() + body[at:]
	}
}

// compressed is a body that the service does not unpack.
func compressed(body string) string {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte(body)) // to memory
	_ = w.Close()
	return packed.String()
}
