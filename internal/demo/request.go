package demo

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Header is one header of a request.
type Header struct{ Name, Value string }

// Request is one line of the story: what is asked and the status that answers.
type Request struct {
	Title   string
	Status  int
	Method  string
	URL     string
	Headers []Header
	Body    string
	Seconds int // after which a stream is left; 0: the answer ends by itself
}

// Curl is the request as one line for a POSIX shell.
func (r Request) Curl() string {
	words := []string{"curl", "-i"}
	if r.Seconds > 0 {
		words = append(words, "-N", "--max-time", strconv.Itoa(r.Seconds))
	}
	if r.Method != http.MethodGet {
		words = append(words, "-X", r.Method)
	}
	words = append(words, quote(r.URL))
	for _, header := range r.Headers {
		words = append(words, "-H", quote(header.Name+": "+header.Value))
	}
	if r.Body != "" {
		words = append(words, "-d", quote(r.Body))
	}
	return strings.Join(words, " ")
}

// quote makes one word for the shell of any text.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// CheckBaseURL says why a server's address is none that paths can be added to.
func CheckBaseURL(text string) error {
	parsed, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("not a URL: %w", err)
	}
	if !slices.Contains([]string{"http", "https"}, parsed.Scheme) || parsed.Host == "" ||
		parsed.RawQuery != "" || parsed.Fragment != "" || strings.Trim(parsed.Path, "/") != "" {
		return fmt.Errorf("%q is not an address such as http://localhost:8080", text)
	}
	return nil
}
