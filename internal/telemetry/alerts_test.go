package telemetry_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/telemetry"
)

func readFile(t *testing.T, name ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, name...)...))
	require.NoError(t, err)
	return string(content)
}

func TestAlertsAskForMetricsAndRunbookSectionsThatExist(t *testing.T) {
	metrics := telemetry.NewMetrics()
	metrics.WatchAudits()
	metrics.Lane("orders")
	metrics.Gate("products")
	metrics.RequestServed("getProduct", http.MethodGet, http.StatusOK, time.Millisecond)
	scraped := scrape(t, metrics)
	alerts, runbook := readFile(t, "deploy", "alerts.yaml"), strings.ToLower(readFile(t, "docs", "runbook.md"))
	names := regexp.MustCompile(`flashsale_[a-z_]+`).FindAllString(alerts, -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		assert.Contains(t, scraped, "\n# TYPE "+strings.TrimSuffix(name, "_total"))
	}
	anchors := regexp.MustCompile(`docs/runbook\.md#(.+)`).FindAllStringSubmatch(alerts, -1)
	assert.Len(t, anchors, strings.Count(alerts, "- alert:"), "each alert says what to do")
	for _, anchor := range anchors {
		assert.Regexp(t, `(?m)^###? `+strings.ReplaceAll(anchor[1], "-", " ")+"$", runbook)
	}
}

func TestAlertsSelectOperationsOfTheContract(t *testing.T) {
	alerts, contract := readFile(t, "deploy", "alerts.yaml"), readFile(t, "api", "openapi.yaml")
	selectors := regexp.MustCompile(`operation(?:=|!=|=~|!~)"([^"]+)"`).FindAllStringSubmatch(alerts, -1)
	require.NotEmpty(t, selectors)
	for _, selector := range selectors {
		for operation := range strings.SplitSeq(selector[1], "|") {
			assert.Contains(t, contract, "operationId: "+operation+"\n")
		}
	}
	rule := regexp.MustCompile(`(?s)- alert: FlashsaleServerErrors\n.*?\n *for:`).FindString(alerts)
	assert.Equal(t, 2, strings.Count(rule, `operation!~"getLiveness|getReadiness"`), "of both sides of the share")
}
