package httpapi

import (
	"embed"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
	swaggerui "github.com/swaggo/files/v2"

	"github.com/flashsale-api/flashsale/api"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	htmlMediaType = "text/html; charset=utf-8"
	textMediaType = "text/plain; charset=utf-8"

	// docsPolicy keeps Swagger UI to this host. It needs inline styles, and
	// pictures that its style sheet carries in itself.
	docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

	// problemPolicy is for a page that loads nothing.
	problemPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

//go:embed assets
var assets embed.FS

// page is a document that stays the same as long as the process runs.
type page struct {
	mediaType string
	policy    string // Content-Security-Policy, "" for none
	vary      string
	tag       string
	body      []byte
}

func newPage(mediaType, policy string, body []byte) page {
	return page{mediaType: mediaType, policy: policy, tag: bodyTag(body), body: body}
}

// serve answers with the page, or with 304 to who has it already.
func (p page) serve(c echo.Context) error {
	header := c.Response().Header()
	header.Set("ETag", p.tag)
	header.Set(echo.HeaderCacheControl, "no-cache")
	if p.policy != "" {
		header.Set(echo.HeaderContentSecurityPolicy, p.policy)
		header.Set(echo.HeaderReferrerPolicy, "no-referrer")
	}
	if p.vary != "" {
		header.Set(echo.HeaderVary, p.vary)
	}
	if matchesTag(strings.Join(c.Request().Header.Values(ifNoneMatch), ", "), p.tag) {
		return c.NoContent(http.StatusNotModified)
	}
	return c.Blob(http.StatusOK, p.mediaType, p.body)
}

// problemPage explains one code, to people and to terminals.
type problemPage struct{ html, text page }

// pages are the documents that the server shows beside the API.
type pages struct {
	docs     map[string]page // by file name; "" is the index
	spec     page
	specJSON page
	problems map[string]problemPage // by code
}

func newPages(doc *openapi3.T) (pages, error) {
	asJSON, err := doc.MarshalJSON()
	if err != nil {
		return pages{}, fmt.Errorf("write the contract as JSON: %w", err)
	}
	docs, err := docsPages()
	if err != nil {
		return pages{}, err
	}
	problems, err := problemPages(problemKinds())
	if err != nil {
		return pages{}, err
	}
	return pages{
		docs:     docs,
		spec:     newPage("application/yaml", "", api.Spec),
		specJSON: newPage(echo.MIMEApplicationJSON, "", asJSON),
		problems: problems,
	}, nil
}

// docsPages are Swagger UI's own files and the two that make it show this API.
func docsPages() (map[string]page, error) {
	own, err := fs.Sub(assets, "assets")
	if err != nil {
		return nil, fmt.Errorf("open the assets: %w", err)
	}
	docs := map[string]page{}
	for _, file := range []struct {
		from             fs.FS
		source, name     string
		mediaType, extra string
	}{
		{own, "index.html", "", htmlMediaType, docsPolicy},
		{own, "initializer.js", "initializer.js", "text/javascript; charset=utf-8", ""},
		{swaggerui.FS, "swagger-ui-bundle.js", "swagger-ui-bundle.js", "text/javascript; charset=utf-8", ""},
		{swaggerui.FS, "swagger-ui.css", "swagger-ui.css", "text/css; charset=utf-8", ""},
		{swaggerui.FS, "favicon-32x32.png", "favicon-32x32.png", "image/png", ""},
	} {
		body, err := fs.ReadFile(file.from, file.source)
		if err != nil {
			return nil, fmt.Errorf("read %s of the docs: %w", file.source, err)
		}
		docs[file.name] = newPage(file.mediaType, file.extra, body)
	}
	return docs, nil
}

func problemPages(kinds map[sale.Code]problemKind) (map[string]problemPage, error) {
	layout, err := assets.ReadFile("assets/problem.html")
	if err != nil {
		return nil, fmt.Errorf("read the page of problems: %w", err)
	}
	found := make(map[string]problemPage, len(kinds))
	for code, kind := range kinds {
		body := fill(string(layout), map[string]string{
			"Code": string(code), "Title": kind.title, "Text": kind.page,
			"Status": strconv.Itoa(kind.status), "StatusText": http.StatusText(kind.status),
		})
		text := fmt.Sprintf("%s\n%s (HTTP %d %s)\n\n%s\n", kind.title, code, kind.status, http.StatusText(kind.status), kind.page)
		both := problemPage{newPage(htmlMediaType, problemPolicy, []byte(body)), newPage(textMediaType, "", []byte(text))}
		both.html.vary, both.text.vary = echo.HeaderAccept, echo.HeaderAccept
		found[string(code)] = both
	}
	return found, nil
}

func (p pages) register(router chainRouter) {
	toDocs := func(c echo.Context) error { return c.Redirect(http.StatusPermanentRedirect, "/docs/") }
	router.GET("/", toDocs)
	router.GET("/docs", toDocs)
	router.GET("/docs/", p.docs[""].serve)
	router.GET("/docs/:file", p.serveDocs)
	router.GET("/openapi.yaml", p.spec.serve)
	router.GET("/openapi.json", p.specJSON.serve)
	router.GET("/problems/:code", p.serveProblem)
}

func (p pages) serveDocs(c echo.Context) error {
	file, found := p.docs[c.Param("file")]
	if !found {
		return echo.ErrNotFound
	}
	return file.serve(c)
}

// serveProblem shows a page to browsers and plain text to who asks for that.
func (p pages) serveProblem(c echo.Context) error {
	known, found := p.problems[c.Param("code")]
	if !found {
		return echo.ErrNotFound
	}
	accept := strings.ToLower(strings.Join(c.Request().Header.Values(echo.HeaderAccept), ","))
	if strings.Contains(accept, "text/plain") && !strings.Contains(accept, "text/html") {
		return known.text.serve(c)
	}
	return known.html.serve(c)
}

// fill puts texts into a page's places, {{.Name}} each. The library for templates
// would add a third to the program: it keeps the linker from leaving out what
// nobody calls.
func fill(layout string, texts map[string]string) string {
	for name, text := range texts {
		layout = strings.ReplaceAll(layout, "{{."+name+"}}", html.EscapeString(text))
	}
	return layout
}
