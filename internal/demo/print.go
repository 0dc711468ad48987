package demo

import (
	"fmt"
	"strings"

	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// Product is what one of the demo's products is there for.
type Product struct {
	SKU   string         `json:"sku"`
	ID    sale.ProductID `json:"id"`
	Shows string         `json:"shows"`
}

// Products lists the scene.
func (s Scene) Products() []Product {
	return []Product{
		{s.Hot.SKU, s.Hot.ID, "10 units that everybody wants"},
		{s.Presale.SKU, s.Presale.ID, "its sale starts tomorrow"},
		{s.Limited.SKU, s.Limited.ID, "2 units for each customer"},
		{s.Free.SKU, s.Free.ID, "costs nothing"},
		{s.Held.SKU, s.Held.ID, "its only unit is held"},
		{s.Gone.SKU, s.Gone.ID, "its only unit is sold"},
	}
}

// Text is the story for a person to paste from. Above each curl line stands what
// it shows and the status that it answers with.
func Text(scene Scene, chapters []Chapter, opts Options) string {
	var text strings.Builder
	fmt.Fprintf(&text, "The demo is set up. Its products:\n")
	for _, product := range scene.Products() {
		fmt.Fprintf(&text, "  %-10s %s  %s\n", product.SKU, product.ID, product.Shows)
	}
	fmt.Fprintf(&text, `
Run these lines from top to bottom, once. The webhooks' signatures hold for %d
minutes from now; 'flashsale demo webhook --order ord_…' prints a fresh one.
`, int(payment.Tolerance.Minutes()))
	for _, chapter := range chapters {
		fmt.Fprintf(&text, "\n## %s\n", chapter.Title)
		for _, request := range chapter.Requests {
			text.WriteString("\n" + request.Text())
		}
	}
	fmt.Fprintf(&text, "\nSwagger UI: %s/docs/\nMetrics:    %s/metrics\n", opts.BaseURL, opts.AdminURL)
	return text.String()
}

// Document is the story for a machine.
type Document struct {
	Products []Product      `json:"products"`
	Requests []RequestEntry `json:"requests"`
}

// RequestEntry is one request of a Document.
type RequestEntry struct {
	Chapter string            `json:"chapter,omitempty"`
	Title   string            `json:"title"`
	Status  int               `json:"status"`
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	Seconds int               `json:"seconds,omitempty"` // after which a stream is left
	Curl    string            `json:"curl"`
}

// Describe makes the Document of a scene and its story.
func Describe(scene Scene, chapters []Chapter) Document {
	document := Document{Products: scene.Products()}
	for _, chapter := range chapters {
		for _, request := range chapter.Requests {
			entry := request.Entry()
			entry.Chapter = chapter.Title
			document.Requests = append(document.Requests, entry)
		}
	}
	return document
}

// Entry is the request for a machine.
func (r Request) Entry() RequestEntry {
	headers := make(map[string]string, len(r.Headers))
	for _, header := range r.Headers {
		headers[header.Name] = header.Value
	}
	return RequestEntry{
		Title: r.Title, Status: r.Status, Method: r.Method, URL: r.URL, Headers: headers, Body: r.Body,
		Seconds: r.Seconds, Curl: r.Curl(),
	}
}

// Text is the request for a person: what it shows, and its curl line.
func (r Request) Text() string { return fmt.Sprintf("# %s: %d\n%s\n", r.Title, r.Status, r.Curl()) }
