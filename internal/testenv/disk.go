package testenv

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	// DataFolder is where a MySQL of testenv keeps its data.
	DataFolder = mysqlFolder
	// BinlogFolder is where one keeps its binary log that has a disk for it.
	BinlogFolder = "/binlog"
	// starts has a line for each start of a supervised server since Fill.
	starts = "/tmp/starts"
)

// Disk is a small disk of a server's own at one of its folders, in memory: it is empty
// again after the server was stopped.
type Disk struct {
	Folder    string
	Megabytes int
}

// supervise starts the server again whenever it ends by itself, as a service manager
// does, and notes each start. The image's own entry is the official one's or ours.
const supervise = `trap 'exit 0' TERM
entry=$(command -v docker-entrypoint.sh || command -v entrypoint)
while :; do
  echo >>` + starts + `
  "$entry" mysqld "$@" &
  wait $!
  sleep 1
done`

// OwnMySQLOn is OwnMySQL with small disks, and supervised: one whose disk is full may
// end by itself.
func OwnMySQLOn(tb testing.TB, disks []Disk, args ...string) *MySQLServer {
	tb.Helper()
	spec := ownMySQLSpec()
	spec.args = append(spec.args, args...)
	spec.tmpfs = map[string]string{}
	for _, disk := range disks {
		spec.tmpfs[disk.Folder] = fmt.Sprintf("rw,size=%dm,mode=1777", disk.Megabytes)
		switch disk.Folder {
		case DataFolder:
			spec.volume = ""
		case BinlogFolder:
			spec.args = append(spec.args, "--log-bin="+BinlogFolder+"/binlog")
		}
	}
	spec.args = append([]string{"sh", "-c", supervise, "supervise"}, spec.args...)
	return ownMySQL(tb, spec)
}

// Fill leaves no space on the disk of a folder.
func (s *Server) Fill(folder string) {
	s.tb.Helper()
	s.run(": >" + starts + " && dd if=/dev/zero of=" + folder + "/filler bs=4k 2>/dev/null; test \"$(df --output=avail " + folder + " | tail -1)\" -eq 0")
}

// Free gives back the space that Fill took.
func (s *Server) Free(folder string) {
	s.tb.Helper()
	s.run("rm " + folder + "/filler && touch " + folder + "/freed")
}

// WritesAgain says whether anything in a folder is seen to be written since Free, by a
// server that answers.
func (s *Server) WritesAgain(folder string) bool {
	status, err := s.status("test -n \"$(find " + folder + " -type f -newer " + folder + "/freed)\"")
	if err != nil || status != 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(s.tb.Context(), pollLimit)
	defer cancel()
	return s.spec.ready(ctx, s.url) == nil
}

// Ended says whether a supervised server has ended by itself since Fill.
func (s *Server) Ended() bool {
	s.tb.Helper()
	status, err := s.status("test -s " + starts)
	require.NoError(s.tb, err)
	return status == 0
}

// run runs a shell's command within the server's container.
func (s *Server) run(command string) {
	s.tb.Helper()
	status, err := s.status(command)
	require.NoError(s.tb, err)
	require.Zero(s.tb, status, command)
}

func (s *Server) status(command string) (int, error) {
	status, _, err := s.container.Exec(s.tb.Context(), []string{"sh", "-c", command})
	return status, err
}
