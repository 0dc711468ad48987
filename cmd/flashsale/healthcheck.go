package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/flashsale-api/flashsale/internal/app"
)

// healthTimeout is what the server gets to say that it is ready.
const healthTimeout = 2 * time.Second

func (sh *shell) healthcheck() *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the server on this machine whether it is ready",
		Long: `Ask the server on this machine, at FLASHSALE_ADDR, whether it is ready: exit code 0
when /readyz answers 200 within 2 seconds, else 1. No other setting is read. For
images that have no shell.`,
		Example: `  flashsale healthcheck`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return sh.runHealthcheck(cmd.Context()) },
	}
}

func (sh *shell) runHealthcheck(ctx context.Context) error {
	addr, err := app.LoadAddr(sh.environ)
	if err != nil {
		return usageError{err}
	}
	url, err := readinessURL(addr)
	if err != nil {
		return usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	// No proxy of the environment's: it could not reach this machine's own address.
	client := http.Client{Transport: &http.Transport{}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the server: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // read-only
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return nil
}

// readinessURL is where a server that listens on an address can be asked. Who listens on
// all addresses is there on IPv4's loopback, too.
func readinessURL(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("reading the address: %w", err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/readyz", nil
}
