//go:build linux

package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

const (
	// dataDisk has room for MySQL's own files and many orders, binlogDisk for those orders'
	// log, in megabytes.
	dataDisk   = 1024
	binlogDisk = 512
	// nextLook is longer than MySQL sleeps between two looks at a full disk.
	nextLook = 90 * time.Second
)

// A full disk is answered with 503, whether MySQL refuses or waits, while reads go on;
// and once MySQL writes again the service is well by itself. MySQL looks at a full disk of
// its binary log once in a minute, so that this one needs to be asked for. InnoDB ends the
// server where it finds no space to undo what did not fit; then it is started again.
func TestAFullDiskOfMySQLIsAnsweredCleanlyAndRecoveredFrom(t *testing.T) {
	rounds, seed := testenv.Number(t, "FLASHSALE_TEST_DISK_ROUNDS", 1), testenv.Seed(t)
	binlog := testenv.Number(t, "FLASHSALE_TEST_FULL_BINLOG", 0) > 0
	server := testenv.OwnMySQLOn(t, []testenv.Disk{
		{Folder: testenv.DataFolder, Megabytes: dataDisk}, {Folder: testenv.BinlogFolder, Megabytes: binlogDisk},
	})
	f := fleetOn(t, server, build(t), app.EnvSweepInterval+"=200ms")
	f.start(2)
	full := []degradation{{name: "the data's disk is full", begin: fullDisk(testenv.DataFolder), refuses: true, spares: true}}
	if binlog {
		full = append(full, degradation{
			name: "the binary log's disk is full", begin: fullDisk(testenv.BinlogFolder), refuses: true,
		})
	}
	endure(t, f, seed, rounds, full)
}

// fullDisk fills the disk of one of MySQL's folders. It ends when MySQL writes there again,
// which is not for the service to hasten.
func fullDisk(folder string) func(s *season) func() {
	return func(s *season) func() {
		s.Helper()
		s.fleet.mysql.Fill(folder)
		return func() {
			s.fleet.mysql.Free(folder)
			freed := time.Now()
			require.Eventually(s, func() bool { return s.fleet.mysql.WritesAgain(folder) }, nextLook, pollPause, folder)
			s.Logf("%s: MySQL writes again %v after there is space; it had ended by itself: %t",
				folder, time.Since(freed).Round(time.Millisecond), s.fleet.mysql.Ended())
		}
	}
}
