package httpapi

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/api"
)

func TestTheDocsAreWholeAndAskNoOtherHost(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	for _, target := range []string{"/", "/docs"} {
		w := serve(handler, request(t, "GET", target, ""))
		require.Equal(t, http.StatusPermanentRedirect, w.Code)
		require.Equal(t, "/docs/", w.Header().Get("Location"))
	}
	index := serve(handler, request(t, "GET", "/docs/", ""))
	require.Equal(t, http.StatusOK, index.Code)
	require.Equal(t, docsPolicy, index.Header().Get("Content-Security-Policy"))
	require.NotContains(t, index.Body.String(), "//", "no address of another host")

	parts := regexp.MustCompile(`(?:src|link[^>]*href)="([^"]+)"`).FindAllStringSubmatch(index.Body.String(), -1)
	require.Len(t, parts, 4)
	for _, part := range parts {
		w := serve(handler, request(t, "GET", "/docs/"+part[1], ""))
		require.Equal(t, http.StatusOK, w.Code, part[1])
		require.NotEmpty(t, w.Body.Bytes(), part[1])
		if strings.HasSuffix(part[1], ".css") {
			require.NotRegexp(t, `url\(\s*["']?(https?:)?//`, w.Body.String())
			require.NotContains(t, w.Body.String(), "@import")
		}
	}
	script := serve(handler, request(t, "GET", "/docs/initializer.js", "")).Body.String()
	require.Contains(t, script, `url: "/openapi.yaml"`)
	require.Contains(t, script, "validatorUrl: null")
	require.Contains(t, script, "tryItOutEnabled: true")
	require.Contains(t, script, "update(withoutOptionalExamples(contract))")
}

func TestTheContractIsServedInBothForms(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	yaml := serve(handler, request(t, "GET", "/openapi.yaml", ""))
	require.Equal(t, string(api.Spec), yaml.Body.String())

	asJSON := serve(handler, request(t, "GET", "/openapi.json", ""))
	require.Equal(t, "application/json", asJSON.Header().Get("Content-Type"))
	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(asJSON.Body.Bytes(), &doc))
	require.Equal(t, "3.0.3", doc.OpenAPI)
	require.Contains(t, doc.Paths["/api/holds"], "post")
}

func TestPagesAreNotSentTwice(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	for _, target := range []string{"/docs/", "/docs/swagger-ui-bundle.js", "/openapi.yaml", "/openapi.json", "/problems/sold_out"} {
		tag := serve(handler, request(t, "GET", target, "")).Header().Get("ETag")
		require.NotEmpty(t, tag, target)
		again := serve(handler, request(t, "GET", target, "", "If-None-Match", `"old", W/`+tag))
		require.Equal(t, http.StatusNotModified, again.Code, target)
		require.Empty(t, again.Body.Bytes(), target)
		require.Equal(t, tag, again.Header().Get("ETag"), target)
	}
}
