package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what this binary was made from.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"` // "+dirty" at its end: with changes
	Go      string `json:"go"`
}

func (sh *shell) version() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Tell what this binary was made from",
		Example: `  flashsale version
  flashsale version --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := readBuild()
			if asJSON {
				return sh.printJSON(b)
			}
			if b.Commit == "" {
				return sh.printf("flashsale %s (%s)\n", b.Version, b.Go)
			}
			return sh.printf("flashsale %s (%s, commit %s)\n", b.Version, b.Go, b.Commit)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// readBuild finds the commit where the toolchain recorded one.
func readBuild() build {
	b := build{Version: version, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	dirty := ""
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Commit = setting.Value
		case "vcs.modified":
			if setting.Value == "true" {
				dirty = "+dirty"
			}
		}
	}
	if b.Commit != "" {
		b.Commit += dirty
	}
	return b
}
