//go:build linux

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// clockTicks is what Linux counts processor time in, a second.
	clockTicks = 100
	// syncs is how often the disk is asked, for one median.
	syncs = 200
	// syncBytes is what a log of the database writes at least.
	syncBytes = 512
)

// usage is processor time so far, or its share of the whole machine.
type usage struct {
	Load     float64 `json:"load"`     // of the load generator
	Server   float64 `json:"server"`   // of the server's process
	Database float64 `json:"database"` // of MySQL's
	Machine  float64 `json:"machine"`  // of everything on the machine
	at       time.Time
}

// pids are whose use of the processors is told, 0 for those that cannot be
// seen.
type pids struct{ server, database int }

// usage reads the processor time so far in seconds. A process that is not there
// used none.
func (p pids) usage() usage {
	u := usage{at: time.Now(), Server: processTime(p.server), Database: processTime(p.database), Machine: machineTime()}
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err == nil {
		u.Load = time.Duration(self.Utime.Nano() + self.Stime.Nano()).Seconds()
	}
	return u
}

// since is the share of the machine between two readings.
func (u usage) since(before usage) usage {
	all := u.at.Sub(before.at).Seconds() * float64(runtime.NumCPU())
	return usage{
		Load:     (u.Load - before.Load) / all,
		Server:   (u.Server - before.Server) / all,
		Database: (u.Database - before.Database) / all,
		Machine:  (u.Machine - before.Machine) / all,
	}
}

func processTime(pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// What follows the name, which may hold spaces, begins with the third field.
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	const user, system = 11, 12
	return (number(fields[user]) + number(fields[system])) / clockTicks
}

// findMySQL gives the newest MySQL that was started with an argument, 0 when
// none can be seen.
func findMySQL(argument string) int {
	found := 0
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0
	}
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		arguments := strings.Split(string(text), "\x00")
		if strings.HasSuffix(arguments[0], "mysqld") && slices.Contains(arguments, argument) {
			found = max(found, int(number(filepath.Base(filepath.Dir(path)))))
		}
	}
	return found
}

func machineTime() float64 {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(line)[1:]
	const idle, waiting, guest = 3, 4, 8
	var busy float64
	for i, field := range fields[:guest] {
		if i != idle && i != waiting {
			busy += number(field)
		}
	}
	return busy / clockTicks
}

func number(text string) float64 {
	n, _ := strconv.ParseFloat(text, 64) // what is no number counts as nothing
	return n
}

// loadAverage is that of the last minute.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	return number(strings.Fields(string(text))[0])
}

// peakMemory is the most memory that a process had resident since forgetPeak, in
// MiB.
func peakMemory(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0
	}
	return number(fields[0]) / 1024
}

// forgetPeak begins peakMemory anew.
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o600)
}

// probeDisk is the median time of writing a little and waiting for the disk.
func probeDisk(folder string) (_ time.Duration, err error) {
	file, err := os.Create(filepath.Join(folder, "sync.probe"))
	if err != nil {
		return 0, fmt.Errorf("make the file of the disk's probe: %w", err)
	}
	defer func() { _, _ = file.Close(), os.Remove(file.Name()) }()
	times := make([]time.Duration, syncs)
	block := make([]byte, syncBytes)
	for i := range times {
		began := time.Now()
		if _, err := file.WriteAt(block, int64(i*syncBytes)); err != nil {
			return 0, fmt.Errorf("write: %w", err)
		}
		if err := syscall.Fdatasync(int(file.Fd())); err != nil {
			return 0, fmt.Errorf("wait for the disk: %w", err)
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return times[syncs/2], nil
}

// processor is the machine's, as it calls itself.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	_, after, found := strings.Cut(string(text), "model name")
	if !found {
		return runtime.GOARCH
	}
	name, _, _ := strings.Cut(strings.TrimLeft(after, "\t :"), "\n")
	return name
}
