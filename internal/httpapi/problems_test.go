package httpapi

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"strconv"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/api"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// contractCodes are the codes that the contract lists.
func contractCodes(t *testing.T) []string {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	require.NoError(t, err)
	var codes []string
	for _, code := range doc.Components.Schemas["ProblemCode"].Value.Enum {
		codes = append(codes, code.(string)) //nolint:errcheck,forcetypeassert // a panic fails the test as well
	}
	require.NotEmpty(t, codes)
	return codes
}

// domainCodes are the constants of type sale.Code, read from their source.
func domainCodes(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../sale/errors.go", nil, 0)
	require.NoError(t, err)
	var codes []string
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Code" {
			return true
		}
		for _, value := range spec.Values {
			literal, ok := value.(*ast.BasicLit)
			require.True(t, ok)
			code, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			codes = append(codes, code)
		}
		return true
	})
	require.NotEmpty(t, codes)
	return codes
}

func TestEveryCodeOfTheContractAndTheDomainHasAProblem(t *testing.T) {
	kinds := problemKinds()
	for _, code := range append(contractCodes(t), domainCodes(t)...) {
		kind, known := kinds[sale.Code(code)]
		require.True(t, known, code)
		require.GreaterOrEqual(t, kind.status, 400, code)
		require.NotEmpty(t, http.StatusText(kind.status), code)
		require.NotEmpty(t, kind.title, code)
		require.NotEmpty(t, kind.page, code)
	}
}

func TestTheContractListsTheEventsThatThereAre(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	require.NoError(t, err)
	var known []any
	for _, name := range sale.EventTypes() {
		known = append(known, string(name))
	}
	require.Equal(t, known, doc.Components.Schemas["EventType"].Value.Enum)
}

func TestEveryProblemIsInTheContract(t *testing.T) {
	codes := contractCodes(t)
	for code := range problemKinds() {
		require.Contains(t, codes, string(code))
	}
}

func TestProblemsLookAsTheExamplesOfTheContract(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	require.NoError(t, err)
	kinds := problemKinds()
	compared := 0
	for name, example := range doc.Components.Examples {
		members, _ := example.Value.Value.(map[string]any)
		code, isProblem := members["code"].(string)
		if !isProblem {
			continue
		}
		kind := kinds[sale.Code(code)]
		require.Equal(t, kind.title, members["title"], name)
		require.EqualValues(t, kind.status, members["status"], name)
		require.Equal(t, "/problems/"+code, members["type"], name)
		compared++
	}
	require.GreaterOrEqual(t, compared, len(kinds)-2, "not_found and method_not_allowed are not an operation's")
}

func TestEveryProblemTypeIsAPage(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	for code, kind := range problemKinds() {
		html := serve(handler, request(t, http.MethodGet, "/problems/"+string(code), "", "Accept", "text/html,*/*"))
		require.Equal(t, http.StatusOK, html.Code)
		require.Equal(t, htmlMediaType, html.Header().Get("Content-Type"))
		require.Contains(t, html.Body.String(), "<h1>"+kind.title)
		require.NotEmpty(t, html.Header().Get("Content-Security-Policy"))

		text := serve(handler, request(t, http.MethodGet, "/problems/"+string(code), "", "Accept", "text/plain"))
		require.Equal(t, textMediaType, text.Header().Get("Content-Type"))
		require.Contains(t, text.Body.String(), kind.page)
	}
	requireProblem(t, serve(handler, request(t, http.MethodGet, "/problems/no_such_code", "")), 404, "not_found")
}
