// Command flashsale is the service and the tools around it.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set when a release is built: -ldflags '-X main.version=1.2.3'.
var version = "dev"

func main() {
	sh := &shell{environ: os.Environ(), in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(runUntilSignal(sh, os.Args[1:]))
}

// runUntilSignal ends the command's context on SIGINT and SIGTERM. A second
// signal kills at once.
func runUntilSignal(sh *shell, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return sh.run(ctx, args)
}

// shell is what a command has of the world around it.
type shell struct {
	environ  []string
	in       io.Reader
	out, err io.Writer
	// running says that cobra found no fault in the arguments.
	running bool
}
