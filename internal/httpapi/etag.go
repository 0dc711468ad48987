package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// tagBytes is how much of a body's hash its tag has.
const tagBytes = 12

// bodyTag is the entity tag of a body.
func bodyTag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:tagBytes]) + `"`
}

// matchesTag says whether an If-None-Match names tag: compared weakly, as RFC
// 9110 wants it for that header. * matches whatever there is.
func matchesTag(ifNoneMatch, tag string) bool {
	rest := strings.TrimSpace(ifNoneMatch)
	if rest == "*" {
		return true
	}
	for rest != "" {
		var candidate string
		candidate, rest = nextTag(rest)
		if candidate == tag {
			return true
		}
	}
	return false
}

// nextTag takes the first entity tag off a list, without the sign of weakness.
// What is not one is skipped up to the next comma; commas inside of a tag are
// the tag's.
func nextTag(list string) (tag, rest string) {
	list = strings.TrimLeft(list, " \t,")
	opaque := strings.TrimPrefix(list, "W/")
	if strings.HasPrefix(opaque, `"`) {
		if end := strings.IndexByte(opaque[1:], '"'); end >= 0 {
			return opaque[:end+2], opaque[end+2:]
		}
	}
	_, rest, _ = strings.Cut(list, ",")
	return "", rest
}
